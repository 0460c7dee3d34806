"""Stage one: sources to documents/, signatures/ and rejected/, one fused Beam graph from reader to writer."""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, read_yaml
from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.first_use import compile_kernels
from pipeline.job import Job, Units, content_key
from pipeline.plan import check_outside, clean_units, make_plan
from pipeline.run_state import library_versions
from pipeline.sections import QualityPreset
from transforms import storage
from transforms.bad_words import EVERY, FilterBadWords, list_paths
from transforms.classifier import SCORE, Classify
from transforms.detector import open_detector
from transforms.fingerprint import MinHashParameters
from transforms.kernels.statistics import STATISTICS
from transforms.language import LabelLanguage, named_languages
from transforms.ledger import CleanSplit
from transforms.normalise import Normalise
from transforms.pii import MaskPii
from transforms.presets import Choice, ThresholdRule, language_values
from transforms.quality import FilterQuality
from transforms.repair import RepairText
from transforms.stop_words import RemoveStopWords, is_path
from transforms.url_filter import FilterUrls
from transforms.word_lists import read_list

if TYPE_CHECKING:
    from transforms.each_batch import BatchFunction

STAGE = "clean"
CLEAN_VERSION = 5  # raised when a transform's output changes for the same input and configuration


@dataclass(frozen=True, kw_only=True)
class CleanContext:
    """What the graph needs; pickled to the workers."""

    out: str
    config: Config


def minhash_parameters(config: Config) -> MinHashParameters | None:
    """Return the signature's parameters, or None when only exact duplicates are removed."""
    minhash = config.dedup.minhash
    return None if minhash is None else MinHashParameters(bands=minhash.bands, rows=minhash.rows, ngram=minhash.ngram)


def quality_options(config: Config) -> dict[str, Any]:
    """Return the arguments of `filter_quality`, or nothing if there is nothing to do.

    Raises:
        UserError: a file of values that cannot be read.
        ValueError: a preset, rule, statistic or value that there is not.
    """
    clean = config.clean
    choices = [
        chosen if isinstance(chosen, str) else _choice(chosen, labelled=clean.language is not None)
        for chosen in clean.quality
    ]
    rules = tuple(ThresholdRule(**rule.model_dump()) for rule in clean.rules)
    if not (choices or rules or clean.keep_statistics):
        return {}
    return {"presets": tuple(choices), "rules": rules, "keep_statistics": clean.keep_statistics}


def _choice(chosen: QualityPreset, *, labelled: bool) -> Choice:
    if chosen.languages and not labelled:
        raise ValueError(f"{chosen.preset} has values for languages, but clean.language is not set")
    languages = {}
    for label, given in chosen.languages.items():
        values = read_yaml(given, what="the values") if isinstance(given, str) else given
        try:
            languages[label] = language_values(values)
        except ValueError as error:
            raise ValueError(f"values of language {label}: {error}") from None
    return Choice(preset=chosen.preset, thresholds=chosen.thresholds, languages=languages, words=chosen.words)


def statistics_kept(config: Config) -> tuple[str, ...]:
    """Return the columns of `statistics/`; without any the table is not written."""
    scores = () if config.clean.classifier is None else (SCORE,)
    return (*STATISTICS, *scores) if config.clean.keep_statistics else scores


def _list_paths(config: Config) -> list[str]:
    """Return the paths of all files that the configuration names and this stage reads, sources apart."""
    clean = config.clean
    chosen = [preset for preset in clean.quality if isinstance(preset, QualityPreset)]
    paths = [value for preset in chosen for value in preset.languages.values() if isinstance(value, str)]
    if clean.url_filter is not None:
        paths += filter(None, clean.url_filter.model_dump().values())
    if clean.bad_words is not None:
        lists = list_paths(clean.bad_words.path)
        if clean.language is None and EVERY not in lists:
            raise ValueError(f"bad words: {clean.bad_words.path} has lists by language, but clean.language is not set")
        paths += [path for files in lists.values() for path in files]
    if clean.stop_words is not None and is_path(clean.stop_words):
        paths.append(clean.stop_words)
    return paths


def steps(config: Config) -> "list[BatchFunction]":
    """Return what is done to each batch between reader and signature, in order.

    Raises:
        ValueError: a language, preset, statistic, kind or value that there is not.
    """
    clean = config.clean
    found: list[BatchFunction] = []
    if clean.url_filter is not None:
        found.append(FilterUrls(**clean.url_filter.model_dump()))
    if clean.repair:
        found.append(RepairText(what=clean.repair))
    found.append(Normalise(unicode=clean.unicode))
    if clean.language is not None:
        found.append(LabelLanguage(**clean.language.options))
    if quality := quality_options(config):
        found.append(FilterQuality(**quality))
    if clean.bad_words is not None:
        found.append(FilterBadWords(**clean.bad_words.model_dump()))
    if clean.classifier is not None:
        found.append(Classify(**clean.classifier.model_dump()))
    if clean.pii:
        found.append(MaskPii(kinds=clean.pii))
    if clean.stop_words is not None:
        found.append(RemoveStopWords(words=clean.stop_words))
    return found


def graph(units: Units, context: CleanContext) -> None:
    """Read, take the steps, sign, write."""
    from transforms.each_batch import EachBatch  # noqa: PLC0415 - Beam, which the parent of a local run does without
    from transforms.read import ReadUnits  # noqa: PLC0415
    from transforms.signing import Sign  # noqa: PLC0415
    from transforms.write import WriteUnits  # noqa: PLC0415

    config = context.config
    sign = Sign(parameters=minhash_parameters(config))
    batches = units | ReadUnits(
        sources={source.name: source for source in config.sources}, out=context.out, stage=STAGE
    )
    for step in steps(config):
        batches |= EachBatch(function=step)
    batches |= sign
    split = CleanSplit(
        stage=STAGE,
        signatures=sign.schema,
        keep_text=config.rejected.keep_text,
        statistics=statistics_kept(config),
    )
    batches | WriteUnits(out=context.out, stage=STAGE, split=split)


def stage_key(config: Config) -> str:
    """Return the key of everything in the configuration that this stage's output depends on."""
    minhash = config.dedup.minhash
    signature = None if minhash is None else (minhash.bands * minhash.rows, minhash.ngram)  # 8 x 14 reads 14 x 8
    language, classifier = config.clean.language, config.clean.classifier
    versions = library_versions(
        *("pyarrow", "datasketch", "ftfy", "publicsuffixlist"),
        "langdetect" if language is None else language.package,
        *(() if classifier is None else ("fasttext-predict",)),
    )
    models = [language.model if language else None, classifier.model if classifier else None]
    files = [storage.file_hash(path) for path in (*_list_paths(config), *filter(None, models))]
    return content_key(
        CLEAN_VERSION, versions, config.clean.model_dump(mode="json"), config.rejected.keep_text, signature, files
    )


def check_names(config: Config) -> None:
    """Refuse names that only the transforms know, before anything is read.

    Raises:
        UserError: an unknown language or quality preset, a list that is none, an extractor that is not installed.
    """
    for source in config.sources:
        if (package := source.extractor) is not None and importlib.util.find_spec(package) is None:
            raise UserError(f"source {source.name} needs {package}; pip install 'gristmill[{package}]'")
    try:
        if config.clean.language is not None:
            labels = open_detector(config.clean.language.model).labels
            for chosen in config.clean.quality:
                if isinstance(chosen, QualityPreset):
                    named_languages(labels, tuple(chosen.languages))  # a label that never comes would do nothing
        for step in steps(config):
            if isinstance(step, Classify):
                step.check()
        for path in _list_paths(config):
            read_list(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        where = f"cannot read {error.filename}: " if error.filename else ""  # object stores name it in the message
        raise UserError(f"{where}{error.strerror or error}") from None


def run(context: RunContext) -> None:
    """Plan and clean."""
    config = context.config
    check_names(config)
    plan = make_plan(config.sources, config.unit_bytes, context.state.plan)
    check_outside(plan, config.output)
    context.state.set_plan(plan)
    units = clean_units(plan, config.sources, stage_key(config))
    job = Job(STAGE, graph, CleanContext(out=context.out, config=config))

    def compile_first() -> None:
        if config.runner.engine in ("local", "FnApiRunner"):  # else it is done elsewhere
            compile_kernels(config, context.say)

    context.record_stage(STAGE, context.run_job(STAGE, job, units, before=compile_first))
