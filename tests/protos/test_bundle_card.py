"""The card's published schema says what the reader does, and versions meet without surprise."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from edgetran_host.inspecting import card_schema
from edgetran_protos.bundle import CARD_MINOR, CARD_SCHEMA, Bundle, BundleCard, Claim
from edgetran_protos.errors import BundleError

from tests.card_versions import Rewritten, next_minor, next_schema, schema_1, schema_2

Raw = dict[str, Any]
SCHEMA = card_schema()
CLAIM = Claim("energy_j", 0.4, 0.3, 0.5, True, "rpi4:cpu", "onnxruntime-fp32", 0.95, "edgetran/1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "one.tar")
    return made


@pytest.fixture(scope="module")
def raw(bundle: Bundle) -> Raw:
    card = dataclasses.replace(bundle.card, claims=[CLAIM])
    found: Raw = json.loads(card.to_json())
    return found


def fits(card: Raw) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(card)


def is_read(card: Raw) -> bool:
    try:
        BundleCard.from_json(json.dumps(card).encode())
    except BundleError:
        return False
    return True


class TestSchema:
    def test_is_one(self) -> None:
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        assert SCHEMA["properties"]["schema"]["const"] == CARD_SCHEMA
        assert SCHEMA["$id"].endswith(f":{CARD_SCHEMA}.{CARD_MINOR}")

    def test_has_the_reader_s_names_at_every_depth(self) -> None:
        def compare(kind: Any, place: Raw) -> int:
            fields = {field.name: field for field in dataclasses.fields(kind)}
            missing = dataclasses.MISSING
            needed = {
                name
                for name, field in fields.items()
                if field.default is missing and field.default_factory is missing
            }
            assert set(place["properties"]) == set(fields)
            # a card of this schema has to say so
            assert set(place["required"]) == needed | ({"schema"} & set(fields))
            assert place["additionalProperties"] is False
            count = 1
            for name, hint in get_type_hints(kind).items():
                inner = get_args(hint)[0] if get_origin(hint) is list else hint
                described = place["properties"][name]
                if dataclasses.is_dataclass(inner):
                    link = described.get("items", described)["$ref"]
                    count += compare(inner, SCHEMA["$defs"][link.rpartition("/")[2]])
                else:
                    assert described["description"]
            return count

        assert compare(BundleCard, SCHEMA) == 1 + len(SCHEMA["$defs"])

    def test_takes_what_is_written(self, raw: Raw) -> None:
        jsonschema.validate(raw, SCHEMA)
        assert BundleCard.from_json(json.dumps(raw).encode()).claims == [CLAIM]

    @pytest.mark.parametrize(
        "change",
        [
            lambda card: card.pop("name"),
            lambda card: card.update(sequence_length=0),
            lambda card: card.update(labels="yes"),
            lambda card: card.update(surprise=1),
            lambda card: card.update(max_accuracy_cost="little"),
            lambda card: card["variants"][0].update(size_bytes=None),
            lambda card: card["variants"][0]["work"].pop("int8_ops"),
            lambda card: card["golden"].update(texts=[["a", "b", "c"]]),
            lambda card: card["golden"]["logits"].update(other=[0.5]),
            lambda card: card["claims"][0].update(measured=1),
            lambda card: card["claims"][0].update(level="high"),
            lambda card: card["claims"][0].pop("board"),
        ],
    )
    def test_and_the_reader_refuse_alike(self, raw: Raw, change: Callable[[Raw], Any]) -> None:
        card = copy.deepcopy(raw)
        change(card)
        assert (fits(card), is_read(card)) == (False, False)


class TestVersions:
    @pytest.mark.parametrize("change", [schema_1, schema_2])
    def test_an_older_card_is_read(
        self, bundle: Bundle, tmp_path: Path, change: Callable[[Raw], None]
    ) -> None:
        found = Bundle.open(Rewritten(bundle, change, tmp_path / "old.tar").path).card
        assert found.schema in (1, 2)
        same = {"schema": CARD_SCHEMA, "minor": CARD_MINOR}
        assert dataclasses.replace(found, **same).claims == bundle.card.claims
        assert found.golden.logits == bundle.card.golden.logits

    def test_additions_of_a_later_minor_are_passed_over(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        found = Bundle.open(Rewritten(bundle, next_minor, tmp_path / "new").path).card
        assert dataclasses.replace(found, minor=CARD_MINOR) == bundle.card

    def test_an_addition_without_a_later_minor_is_a_mistake(self, raw: Raw) -> None:
        card = copy.deepcopy(raw)
        next_minor(card)
        assert is_read(card)
        assert not is_read({**card, "minor": CARD_MINOR})
        assert not is_read({**card, "schema": CARD_SCHEMA - 1})

    def test_a_later_schema_is_refused_by_its_number(self, bundle: Bundle, tmp_path: Path) -> None:
        path = Rewritten(bundle, next_schema, tmp_path / "new.tar").path
        with pytest.raises(
            BundleError, match=f"schema {CARD_SCHEMA + 1}.*up to {CARD_SCHEMA}"
        ) as caught:
            Bundle.open(path)
        assert "upgrade edgetran" in caught.value.hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_python_reads_and_json_lacks_is_refused(raw: Raw, number: str) -> None:
    card = {**raw, "architecture": {"scale": 0.25}}
    whole = json.dumps(card)
    assert BundleCard.from_json(whole.encode()).architecture == {"scale": 0.25}
    with pytest.raises(BundleError, match="no number in JSON"):
        BundleCard.from_json(whole.replace("0.25", number).encode())
