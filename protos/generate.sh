#!/usr/bin/env bash
# Regenerates protos/edgetran_protos/{edgetran,inference} from protos/proto.
# usage: generate.sh PYTHON [OUT]   (OUT defaults to the committed place)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$1
out=${2:-$here/edgetran_protos/generated}
mkdir -p "$out"
PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc -I "$here/proto" \
  --python_out="$out" --grpc_python_out="$out" --mypy_out=quiet:"$out" --mypy_grpc_out=quiet:"$out" \
  "$here"/proto/edgetran/v1/*.proto
# The inference package stays out of the default descriptor pool (tritonclient
# defines it too), so only its descriptor is kept; open_inference.py loads it.
"$python" -m grpc_tools.protoc -I "$here/proto" --descriptor_set_out="$out/open_inference.binpb" \
  "$here/proto/inference/open_inference.proto"
# protoc writes absolute imports; make them relative to our package.
sed -i -E 's/^from edgetran\.v1 import/from edgetran_protos.generated.edgetran.v1 import/; s/^import edgetran\.v1\./import edgetran_protos.generated.edgetran.v1./; s/([^.a-z_])edgetran\.v1\.([a-z]+_pb2)/\1edgetran_protos.generated.edgetran.v1.\2/g' \
  "$out"/edgetran/v1/*_pb2_grpc.py "$out"/edgetran/v1/*.pyi
touch "$out/__init__.py" "$out/edgetran/__init__.py" "$out/edgetran/v1/__init__.py"
