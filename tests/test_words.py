"""Words with a fixed replacement do not come back; CONTRIBUTING.md has the writing guide."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".py", ".md", ".sh", ".js", ".html", ".css", ".toml", ".yml", ".yaml"}
FILES = [
    file
    for name in ("src", "tests", "docs", "benchmarks", "README.md", "CHANGELOG.md", "pyproject.toml")
    for file in sorted([ROOT / name, *(ROOT / name).rglob("*")])
    if file.suffix in SUFFIXES
    and not {"results", "__pycache__"} & set(file.relative_to(ROOT).parts)
    and file != Path(__file__)
]
UNFINISHED = {  # files that still have old words; remove a file from the list once it is clean
    "src/segue/bench/compare.py",
    "src/segue/cli/evaluations.py",
    "src/segue/cli/list_options.py",
    "src/segue/compat/annoy/index.py",
    "src/segue/compat/annoy/nodes.py",
    "src/segue/compat/lightfm/cross_validation.py",
    "src/segue/compat/lightfm/data.py",
    "src/segue/compat/lightfm/datasets.py",
    "src/segue/data/vocabulary.py",
    "src/segue/evaluation/evaluate.py",
    "src/segue/evaluation/metrics.py",
    "src/segue/index/arrays.py",
    "src/segue/index/base.py",
    "src/segue/index/checks.py",
    "src/segue/index/effort.py",
    "src/segue/index/hnsw.py",
    "src/segue/index/ivf.py",
    "src/segue/index/lsh.py",
    "src/segue/index/partitions.py",
    "src/segue/kernels/annoy.py",
    "src/segue/kernels/compile.py",
    "src/segue/kernels/contrastive.py",
    "src/segue/kernels/explicit.py",
    "src/segue/kernels/forest.py",
    "src/segue/kernels/hnsw.py",
    "src/segue/kernels/ials.py",
    "src/segue/kernels/item2vec.py",
    "src/segue/kernels/ivf.py",
    "src/segue/kernels/knn.py",
    "src/segue/kernels/lsh.py",
    "src/segue/kernels/ranks.py",
    "src/segue/kernels/scan.py",
    "src/segue/kernels/sgd.py",
    "src/segue/kernels/simd.py",
    "src/segue/kernels/simulate.py",
    "src/segue/kernels/threads.py",
    "src/segue/kernels/topk.py",
    "src/segue/kernels/trees.py",
    "src/segue/lazy.py",
    "src/segue/models/__init__.py",
    "src/segue/models/als.py",
    "src/segue/models/baselines.py",
    "src/segue/models/cold_start.py",
    "src/segue/models/contrastive.py",
    "src/segue/models/ease.py",
    "src/segue/models/embeddings.py",
    "src/segue/models/explicit.py",
    "src/segue/models/feature_priors.py",
    "src/segue/models/ials.py",
    "src/segue/models/item2vec.py",
    "src/segue/models/settings.py",
    "src/segue/models/svdae.py",
    "src/segue/models/updates.py",
    "src/segue/numerics/axes.py",
    "src/segue/numerics/ranks.py",
    "src/segue/online/exploration.py",
    "src/segue/recommender/fitting.py",
    "src/segue/recommender/lists.py",
    "src/segue/serve/fast_path.py",
    "src/segue/serve/payloads.py",
    "src/segue/serve/service/service.py",
    "src/segue/serve/service/versions.py",
    "src/segue/spark/host.py",
    "src/segue/spark/recommend.py",
    "src/segue/spark/session.py",
    "src/segue/spark/shards.py",
    "src/segue/spark/train.py",
    "src/segue/spark/write.py",
    "src/segue/tuning/plot.py",
    "src/segue/tuning/search.py",
    "src/segue/tuning/study.py",
    "tests/postgres.py",
    "tests/test_auto.py",
    "tests/test_baselines.py",
    "tests/test_bench.py",
    "tests/test_cli.py",
    "tests/test_compat_annoy.py",
    "tests/test_compat_datasets.py",
    "tests/test_compat_lightfm.py",
    "tests/test_contrastive.py",
    "tests/test_ease.py",
    "tests/test_evaluation.py",
    "tests/test_exact.py",
    "tests/test_explain.py",
    "tests/test_explicit.py",
    "tests/test_explore.py",
    "tests/test_features.py",
    "tests/test_forest.py",
    "tests/test_hnsw.py",
    "tests/test_hybrid.py",
    "tests/test_ials.py",
    "tests/test_ids.py",
    "tests/test_index.py",
    "tests/test_item2vec.py",
    "tests/test_ivf.py",
    "tests/test_lsh.py",
    "tests/test_metrics.py",
    "tests/test_models.py",
    "tests/test_page.py",
    "tests/test_parquet.py",
    "tests/test_profiles.py",
    "tests/test_recommender.py",
    "tests/test_serve.py",
    "tests/test_serve_abuse.py",
    "tests/test_serve_events.py",
    "tests/test_serve_swap.py",
    "tests/test_sgd.py",
    "tests/test_simulate.py",
    "tests/test_source_items.py",
    "tests/test_sources.py",
    "tests/test_spark.py",
    "tests/test_store.py",
    "tests/test_store_damage.py",
    "tests/test_store_manifest.py",
    "tests/test_store_writers.py",
    "tests/test_text.py",
    "tests/test_threads.py",
    "tests/test_tuning.py",
    "tests/test_update.py",
    "docs/coming-from-annoy.md",
    "docs/coming-from-implicit.md",
    "docs/design.md",
    "docs/exact.md",
    "docs/features.md",
    "docs/hnsw.md",
    "docs/indexes.md",
    "docs/ivf.md",
    "docs/models.md",
    "docs/other-models.md",
    "docs/recommend.md",
    "docs/scale.md",
    "docs/tune.md",
    "benchmarks/README.md",
    "benchmarks/annoy_calls.py",
    "benchmarks/annoy_files.py",
    "benchmarks/cold.py",
    "benchmarks/exact.py",
    "benchmarks/gowalla.py",
    "benchmarks/hybrid.py",
    "benchmarks/ials.py",
    "benchmarks/index.py",
    "benchmarks/learn.py",
    "benchmarks/memory.py",
    "benchmarks/models.py",
    "benchmarks/online.py",
    "benchmarks/parity.py",
    "benchmarks/serve.py",
    "benchmarks/shards.py",
    "benchmarks/spark.py",
    "benchmarks/update.py",
}
IN_TEXT = {  # pattern: replacement
    r"neighbour": "neighbor",
    r"cent(?:re|res|red|ring)\b": "center",
    r"colour": "color",
    r"behaviour": "behavior",
    r"favour": "favor",
    r"catalogue": "catalog",
    r"licence": "license",
    r"\bspelt\b": "spelled",
    r"(?:label|model|cancel|travel)l(?:ed|ing)\b": "labeled, modeling, canceled, traveling",
    r"(?:normal|general|standard|initial|minim|maxim|factor|quant|serial|regular|summar|organ|recogn|random"
    r"|optim|penal|util|vector|token|local|final|real|visual|synchron|character|emphas|parallel|material"
    r"|prior|symmetr|discret)is(?:e|es|ed|ing|ation|er|ers)\b": "-ize, -ization",
    r"\banew\b": "again",
    r"\bwhose\b": "of which, or two sentences",
    r"\bwhoever\b": "any user",
    r"\bof whom\b": "two sentences",
    r"\bno matter\b": "regardless of, or ignored",
    r"\bas ever\b": "as before",
    r"\bforetold\b": "predictable",
    r"\bnobody\b": "no user",
    r"\bsomebody\b": "a user",
    r"\bit is told\b": "it receives",
    r"\bcannot be:": "invalid:",
}
IN_CODE = {
    r"\b(?:told|made|asked|wanted|turned)\b(?:: [^=\n]+)? = ": "a noun that says what the value is",
    r"\bfor (?:who|whom|told|asked)\b": "a noun that says what the value is",
    r"\b(?:also_seen|left_out|deny)\b": "exclude",
    r"\beligible\b": "allow, allowed",
    r"\bclass (?:Wish|Wishes|Asked|Person|Deed|Kept|Write|Searches|Audience)\b": "a term of the field",
    r"\b(?:Grove|MeasuredIndex|HYBRID|FEATURED)\b": "ForestArrays, BruteForceIndex, ModelSpec's capabilities",
    r"\bas_they_are\b": "identity",
}


def old_words(text, patterns):
    return [
        f"line {number}: {match[0]!r}; write {replacement}"
        for pattern, replacement in patterns.items()
        for number, line in enumerate(text.splitlines(), 1)
        for match in re.finditer(pattern, line, re.IGNORECASE if patterns is IN_TEXT else 0)
    ]


FINISHED = [file for file in FILES if file.relative_to(ROOT).as_posix() not in UNFINISHED]


@pytest.mark.parametrize("file", FINISHED, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_old_words(file):
    text = file.read_text(encoding="utf-8")
    found = old_words(text, IN_TEXT)
    if file.suffix == ".py":
        found += old_words(text, IN_CODE)
    assert found == []


@pytest.mark.parametrize(
    "text", ["Neighbours", "normalised", "the centre", "users whose history", "cancelled"]
)
def test_old_words_are_found(text):
    assert old_words(text, IN_TEXT)
    assert not old_words("neighbors, normalized, center, centroid, optimistic, premise, canceled", IN_TEXT)
