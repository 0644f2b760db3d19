"""Filters: which runs are selected, by every method that takes a filter."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from kitt_core.runs import codec
from kitt_core.runs.query import MetricCondition, RunFilter
from kitt_core.storage.contract import ResultStore
from kitt_core.testing._storage.questions import StoreTests, found, put
from kitt_core.testing.documents import MINIMAL, STANDARD, as_bytes, run

_TEXT_FIELDS = ("model", "engine", "suite_name", "kitt_version", "gpu_model", "environment_type", "fingerprint")


def _with(field: str, value: str) -> dict[str, Any]:
    """Return a document whose ``field``, as filters name it, is ``value``."""
    if field == "gpu_model":
        return run(system_info={"gpu": {"model": value}})
    if field in {"environment_type", "fingerprint"}:
        return run(system_info={field: value})
    return run(**{field: value})


def _everywhere(text: str) -> dict[str, Any]:
    """Return a document all of whose text fields are ``text``."""
    system = {"gpu": {"model": text}, "environment_type": text, "fingerprint": text}
    return run(model=text, engine=text, suite_name=text, kitt_version=text, system_info=system)


def _measured(**metrics: Any) -> dict[str, Any]:
    return run(results=[{"test_name": "throughput", "metrics": metrics}])


def _values(*values: str) -> bytes:
    entries = ",".join(f'{{"test_name": "t", "metrics": {{"x": {value}}}}}' for value in values)
    return f'{{"model": "m", "engine": "e", "results": [{entries}]}}'.encode()


class FilterContract(StoreTests):
    """A run matches if it meets every field of the filter."""

    def test_no_filter_means_every_run(self, store: ResultStore) -> None:
        put(store, {"a": MINIMAL, "b": STANDARD})
        for nothing in (None, {}, RunFilter(), {"model": None}):
            assert found(store, nothing) == {"a", "b"}

    def test_an_empty_store_has_no_runs(self, store: ResultStore) -> None:
        assert found(store) == found(store, model="*") == set()
        assert store.list_results().next_cursor is None
        assert store.aggregate("model", "x") == []

    def test_a_filter_is_a_run_filter_or_a_mapping_of_its_fields(self, store: ResultStore) -> None:
        put(store, {"a": run(engine="vllm"), "b": run(engine="ollama")})
        assert found(store, {"engine": "vllm"}) == found(store, RunFilter(engine="vllm")) == {"a"}

    def test_a_text_field_matches_the_whole_text(self, store: ResultStore) -> None:
        put(store, {text: _everywhere(text) for text in ("abc", "ab", "abcd", "xabc")} | {"other": MINIMAL})
        for field in _TEXT_FIELDS:
            assert found(store, {field: "abc"}) == {"abc"}, field
            assert found(store, {field: "b"}) == set(), field

    def test_a_text_field_matches_only_its_own_field(self, store: ResultStore) -> None:
        put(store, {field: _with(field, "here") for field in _TEXT_FIELDS})
        for field in _TEXT_FIELDS:
            assert found(store, {field: "here"}) == {field}

    def test_a_sequence_means_any_of_its_texts(self, store: ResultStore) -> None:
        put(store, {text: _everywhere(text) for text in ("aa", "ab", "b", "c")})
        for field in _TEXT_FIELDS:
            assert found(store, {field: ["aa", "c"]}) == {"aa", "c"}, field
            assert found(store, {field: ("a*", "c", "a*", "unknown")}) == {"aa", "ab", "c"}, field
            assert found(store, {field: ["b"]}) == {"b"}, field
            assert found(store, {field: []}) == set(), field

    def test_text_is_case_sensitive(self, store: ResultStore) -> None:
        put(store, {"upper": _everywhere("ABC"), "lower": _everywhere("abc"), "accent": _everywhere("É")})
        for field in _TEXT_FIELDS:
            assert found(store, {field: "ABC"}) == found(store, {field: "A*"}) == {"upper"}, field
            assert found(store, {field: "abc"}) == found(store, {field: "*c"}) == {"lower"}, field
            assert found(store, {field: "É"}) == found(store, {field: "*É"}) == {"accent"}, field
            assert found(store, {field: "é"}) == found(store, {field: "é*"}) == set(), field

    def test_a_star_is_any_text_even_none(self, store: ResultStore) -> None:
        texts = {"r0": "meta/a-8b", "r1": "meta/b-70b", "r2": "metal", "r3": "a\nb", "r4": "x"}
        put(store, {run_id: _everywhere(text) for run_id, text in texts.items()})
        for field in _TEXT_FIELDS:
            assert found(store, {field: "meta/*"}) == {"r0", "r1"}, field
            assert found(store, {field: "*b"}) == {"r0", "r1", "r3"}, field
            assert found(store, {field: "*a*b*"}) == {"r0", "r1", "r3"}, field
            assert found(store, {field: "meta*-*b"}) == {"r0", "r1"}, field
            assert found(store, {field: "x*"}) == found(store, {field: "**x**"}) == {"r4"}, field
            assert found(store, {field: "*"}) == set(texts), field

    def test_only_the_star_is_special(self, store: ResultStore) -> None:
        texts = ["a%b", "a_b", "a?b", "a[x]b", "axb", "a\\b", "a.b", "a^b$", "a'b", 'a"b', "a{b", "a(b|c)", "a%%b"]
        put(store, {f"r{i}": _everywhere(text) for i, text in enumerate(texts)})
        for field in ("model", "gpu_model"):
            for i, text in enumerate(texts):
                assert found(store, {field: text}) == {f"r{i}"}, text
                assert f"r{i}" in found(store, {field: f"*{text[1:-1]}*"}), text
            for text in ("%", "a__", "???", "a.*b$", "_%_"):
                assert found(store, {field: text}) == set(), text
            assert found(store, {field: "a%*"}) == {"r0", "r12"}
            assert found(store, {field: "*[x*"}) == {"r3"}
            assert found(store, {field: "a\\*"}) == {"r5"}

    def test_a_star_in_the_text_is_found_by_a_star(self, store: ResultStore) -> None:
        put(store, {"star": run(model="a*b"), "text": run(model="axxb")})
        assert found(store, model="a*b") == {"star", "text"}

    def test_a_missing_value_matches_no_text(self, store: ResultStore) -> None:
        put(store, {"none": MINIMAL, "given": _with("gpu_model", "")})
        assert found(store, gpu_model="*") == found(store, gpu_model="") == {"given"}
        assert found(store, environment_type="*") == set()
        assert found(store, suite_name="") == {"none", "given"}

    def test_white_space_and_form_of_text_count(self, store: ResultStore) -> None:
        texts = {"plain": "a", "blank": "a ", "composed": "\u00e9", "decomposed": "e\u0301", "empty": ""}
        put(store, {run_id: run(model=text) for run_id, text in texts.items()})
        for run_id, text in texts.items():
            assert found(store, model=text) == {run_id}

    def test_ids_are_filtered_like_text(self, store: ResultStore) -> None:
        put(store, dict.fromkeys(("a.1", "A.1", "a_1", "b"), MINIMAL))
        assert found(store, id="a.1") == {"a.1"}
        assert found(store, id="a*") == {"a.1", "a_1"}
        assert found(store, id=["b", "A.1", "none"]) == {"b", "A.1"}
        assert found(store, id="a?1") == set()

    def test_sha256_finds_the_runs_with_these_bytes(self, store: ResultStore) -> None:
        put(store, {"a": MINIMAL, "b": MINIMAL, "c": MINIMAL + b"\n"})
        assert found(store, sha256=codec.digest(MINIMAL)) == {"a", "b"}
        assert found(store, sha256=[codec.digest(MINIMAL + b"\n"), "0" * 64]) == {"c"}
        assert found(store, sha256=codec.digest(b"")) == set()

    def test_passed_means_the_runs_flag(self, store: ResultStore) -> None:
        put(store, {"yes": run(passed=True), "no": run(passed=False), "absent": MINIMAL})
        put(store, {"misfit": run(passed="true")}, strict=False)
        assert found(store, passed=True) == {"yes"}
        assert found(store, passed=False) == {"no", "absent"}
        assert found(store, passed=None) == {"yes", "no", "absent", "misfit"}

    def test_since_is_included_and_until_is_not(self, store: ResultStore) -> None:
        times = [f"2025-06-01T12:00:0{i}.000001+00:00" for i in range(4)]
        put(store, {f"r{i}": run(timestamp=time) for i, time in enumerate(times)})
        assert found(store, since=times[1]) == {"r1", "r2", "r3"}
        assert found(store, until=times[1]) == {"r0"}
        assert found(store, since=times[1], until=times[3]) == {"r1", "r2"}
        assert found(store, since=times[1], until=times[1]) == set()
        assert found(store, since="2025-06-01T12:00:01.000002") == {"r2", "r3"}
        assert found(store, until="2025-06-01T12:00:01.000002") == {"r0", "r1"}

    def test_times_are_compared_as_instants(self, store: ResultStore) -> None:
        put(
            store,
            {
                "utc": run(timestamp="2025-06-01T10:00:00Z"),
                "east": run(timestamp="2025-06-01T12:00:00+02:00"),
                "naive": run(timestamp="2025-06-01T10:00:00"),
                "west": run(timestamp="2025-06-01T10:00:00-07:00"),
            },
        )
        same = {"utc", "east", "naive"}
        assert found(store, until="2025-06-01T10:00:00.000001") == same
        assert found(store, since="2025-06-01T03:00:00-07:00", until="2025-06-01T15:45:01+05:45") == same
        assert found(store, since="2025-06-01T10:00:01") == {"west"}

    def test_since_and_until_are_iso_text_a_date_or_a_datetime(self, store: ResultStore) -> None:
        put(store, {"may": run(timestamp="2025-05-31T23:59:59.999999"), "june": run(timestamp="2025-06-01")})
        naive = datetime(2025, 6, 1)  # noqa: DTZ001  # naive is read as UTC
        east = datetime(2025, 6, 1, 2, tzinfo=timezone(timedelta(hours=2)))
        for moment in ("2025-06-01", "2025-06-01T00:00:00Z", date(2025, 6, 1), naive, east):
            assert found(store, since=moment) == {"june"}
            assert found(store, until=moment) == {"may"}

    def test_a_run_without_timestamp_is_in_no_interval(self, store: ResultStore) -> None:
        put(store, {"none": MINIMAL, "empty": run(timestamp=""), "given": run(timestamp="2025-06-01")})
        assert found(store, since="0001-01-01") == found(store, until="9999-12-31") == {"given"}

    def test_labels_must_all_match(self, store: ResultStore) -> None:
        put(
            store,
            {
                "both": run(labels={"team": "red", "branch": "main"}),
                "one": run(labels={"team": "red"}),
                "other": run(labels={"team": "blue", "branch": "main"}),
                "swapped": run(labels={"main": "branch", "red": "team"}),
                "none": MINIMAL,
            },
        )
        assert found(store, labels={"team": "red"}) == {"both", "one"}
        assert found(store, labels={"team": "red", "branch": "main"}) == {"both"}
        assert found(store, labels={"team": ["blue", "red"]}) == {"both", "one", "other"}
        assert found(store, labels={"branch": "m*"}) == found(store, labels={"branch": "*"}) == {"both", "other"}
        assert found(store, labels={"Team": "red"}) == found(store, labels={"team": "Red"}) == set()
        assert found(store, labels={"te*": "red"}) == found(store, labels={"unknown": "*"}) == set()
        assert found(store, labels={}) == {"both", "one", "other", "swapped", "none"}

    def test_labels_of_numbers_and_flags_match_as_json_spells_them(self, store: ResultStore) -> None:
        put(store, {"x": run(labels={"n": 8, "r": 1.5, "f": True, "none": None, "list": ["a"]})})
        assert found(store, labels={"n": "8", "r": "1.5", "f": "true"}) == {"x"}
        assert found(store, labels={"none": "*"}) == found(store, labels={"list": "*"}) == set()

    def test_the_fingerprints_machine_and_software_are_labels(self, store: ResultStore) -> None:
        put(
            store,
            {
                "a": run(system_info={"machine": "m1", "software": "s1"}),
                "b": run(system_info={"machine": "m1", "software": "s2"}),
                "c": run(system_info={"machine": "m1"}, labels={"machine": "named"}),
            },
        )
        assert found(store, labels={"machine": "m1"}) == {"a", "b"}
        assert found(store, labels={"machine": "m1", "software": "s2"}) == {"b"}
        assert found(store, labels={"machine": "named"}) == {"c"}

    def test_a_metric_condition_has_six_operators(self, store: ResultStore) -> None:
        put(store, {f"x{n}": _measured(x=n) for n in (-1, 0, 1, 2)} | {"none": _measured(y=1)})
        assert found(store, metrics="x=1") == found(store, metrics="x == 1.0") == {"x1"}
        assert found(store, metrics="x!=1") == {"x-1", "x0", "x2"}
        assert found(store, metrics="x<1") == {"x-1", "x0"}
        assert found(store, metrics="x<=1") == {"x-1", "x0", "x1"}
        assert found(store, metrics="x>1") == {"x2"}
        assert found(store, metrics=" x >= 1e0 ") == {"x1", "x2"}
        assert found(store, metrics=MetricCondition("x", "<", -0.5)) == {"x-1"}

    def test_all_metric_conditions_must_hold(self, store: ResultStore) -> None:
        put(store, {f"r{n}": _measured(x=n, y=-n) for n in range(5)})
        assert found(store, metrics=["x>=1", "y>-3"]) == {"r1", "r2"}
        assert found(store, metrics=["x>3", "x<2"]) == set()
        assert found(store, metrics=[]) == {f"r{n}" for n in range(5)}

    def test_a_condition_holds_if_any_entry_of_the_run_meets_it(self, store: ResultStore) -> None:
        put(store, {"a": _values("1", "5"), "b": _values("2", "3"), "c": _values()})
        assert found(store, metrics="x>4") == {"a"}
        assert found(store, metrics=["x<2", "x>4"]) == {"a"}
        assert found(store, metrics="x!=1") == {"a", "b"}

    def test_a_metric_is_named_alone_or_with_its_benchmark(self, store: ResultStore) -> None:
        def two(throughput: float, latency: float) -> dict[str, Any]:
            pair = {"throughput": throughput, "latency": latency}
            return run(results=[{"test_name": name, "metrics": {"avg_tps": v}} for name, v in pair.items()])

        put(store, {"a": two(50, 10), "b": two(10, 50), "c": two(10, 10)})
        assert found(store, metrics="avg_tps>40") == {"a", "b"}
        assert found(store, metrics="throughput/avg_tps>40") == {"a"}
        assert found(store, metrics="latency/avg_tps>40") == {"b"}
        assert found(store, metrics="through*/avg_tps>40") == found(store, metrics="Avg_tps>40") == set()

    def test_an_entry_whose_name_does_not_fit_is_named_by_its_metric_alone(self, store: ResultStore) -> None:
        put(store, {"misfit": run(results=[{"test_name": 5, "metrics": {"x": 1}}])}, strict=False)
        put(store, {"named": run(results=[{"test_name": "None", "metrics": {"x": 1}}])})
        assert found(store, metrics="x=1") == {"misfit", "named"}
        assert found(store, metrics="None/x=1") == {"named"}
        assert found(store, metrics="/x=1") == found(store, metrics="5/x=1") == set()

    def test_non_finite_values_meet_no_condition(self, store: ResultStore) -> None:
        put(store, {"nan": _values("NaN"), "inf": _values("Infinity", "-1e999"), "both": _values("Infinity", "1")})
        for operator in ("=", "!=", "<", "<=", ">", ">="):
            assert found(store, metrics=f"x{operator}0") <= {"both"}
        assert found(store, metrics="x>0") == found(store, metrics="x<1e308") == {"both"}
        assert found(store, metrics="x>1") == set()

    def test_search_is_a_case_insensitive_part_of_the_named_fields(self, store: ResultStore) -> None:
        fields = ("model", "engine", "suite_name", "gpu_model", "fingerprint")
        put(
            store,
            {field: _with(field, "xx-Needle.1-yy") for field in fields}
            | {"version": _with("kitt_version", "needle.1"), "environment": _with("environment_type", "needle.1")}
            | {
                "elsewhere": run(
                    note="needle.1", results=[{"test_name": "needle.1"}], labels={"needle.1": "needle.1"}
                )
            },
        )
        assert found(store, search="needle.1") == found(store, search="NEEDLE.1-Y") == set(fields)
        assert found(store, search="needlex1") == found(store, search="needle*") == set()
        assert found(store, search="") == set(fields) | {"version", "environment", "elsewhere"}

    def test_nothing_is_special_in_search(self, store: ResultStore) -> None:
        texts = ["50%", "a_b", "a*b", "a?b", "[x]", "a\\b", "it's", "a\nb"]
        put(
            store,
            {f"r{i}": run(model=f"<{text}>") for i, text in enumerate(texts)} | {"plain": run(model="<axb>")},
        )
        for i, text in enumerate(texts):
            assert found(store, search=text) == {f"r{i}"}, text
        assert found(store, search="%") == {"r0"}
        assert found(store, search="_") == {"r1"}

    def test_search_ignores_case_beyond_ascii(self, store: ResultStore) -> None:
        put(store, {"latin": run(model="Éclair"), "cyrillic": run(model="МОДЕЛЬ"), "greek": run(model="ΛΑΜΔΑ")})
        assert found(store, search="éclair") == found(store, search="ÉCLAIR") == {"latin"}
        assert found(store, search="модель") == {"cyrillic"}
        assert found(store, search="λαμ") == {"greek"}

    def test_all_fields_of_a_filter_must_be_met(self, store: ResultStore) -> None:
        store.save_result(STANDARD, run_id="standard")
        put(store, {"other": run(engine="vllm"), "minimal": MINIMAL})
        whole = {
            "id": "stand*",
            "model": ["meta-llama/*", "x"],
            "engine": "vllm",
            "suite_name": "standard",
            "passed": False,
            "kitt_version": "1.8.*",
            "since": "2025-07-30",
            "until": "2025-07-31",
            "gpu_model": "NVIDIA*",
            "environment_type": "bare_metal",
            "fingerprint": "h100*",
            "labels": {},
            "sha256": codec.digest(STANDARD),
            "metrics": ["avg_tps>40", "latency/ttft_ms.p50<25"],
            "search": "epyc",
        }
        assert found(store, whole) == {"standard"}
        spoiled = {
            "id": "other",
            "model": "x",
            "engine": "VLLM",
            "suite_name": "quick",
            "passed": True,
            "kitt_version": "1.7.*",
            "since": "2025-07-31",
            "until": "2025-07-30",
            "gpu_model": "AMD*",
            "environment_type": "docker",
            "fingerprint": "a100*",
            "labels": {"team": "*"},
            "sha256": codec.digest(MINIMAL),
            "metrics": ["avg_tps>4000"],
            "search": "xeon",
        }
        assert spoiled.keys() == whole.keys()
        for field, value in spoiled.items():
            assert found(store, whole | {field: value}) == set(), field

    def test_many_values_may_be_given(self, store: ResultStore) -> None:
        put(store, {f"r{i}": as_bytes(run(model=f"m{i}")) for i in range(5)})
        models = [f"m{i}" for i in range(0, 1500, 2)]
        assert (
            found(store, model=models)
            == found(store, id=[f"r{i}" for i in range(0, 1500, 2)])
            == {"r0", "r2", "r4"}
        )
