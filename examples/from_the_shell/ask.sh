#!/bin/sh
# ask.sh ADDRESS MODEL TEXT...: what a board's model says of texts; a line each: label, score, text.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 ADDRESS MODEL TEXT..." >&2
    exit 2
fi
address=$1
model=$2
shift 2

if [ -n "${PROTO:-}" ]; then
    described="-import-path $PROTO -proto edgetran/v1/text.proto"
else
    described=""  # the daemon describes itself
fi

asked=$(jq -cn --arg model "$model" '{model: $model, inputs: [$ARGS.positional[] | {text: .}]}' --args -- "$@")
# shellcheck disable=SC2086
answered=$(grpcurl -plaintext $described -d "$asked" "$address" edgetran.v1.TextService/Predict)
echo "$answered" | jq -r '[.predictions, $ARGS.positional] | transpose[]
    | [.[0].label, (.[0].score * 100 | round / 100), .[1]] | @tsv' --args -- "$@"
