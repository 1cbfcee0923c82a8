"""The field's words: private ones do not come back; docstrings, messages and imports have one form."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "flemme_monai"
FILES = sorted(PACKAGE.rglob("*.py"))

# by the room in which they stood for something that the field has a word for; "" is every room
PRIVATE = {
    "": """told heard entrance located forgets_bias min_positions residual_stage DenseLatent latent_vector Conditions
        Conditioning context_first GlobalAttention StepEmbedding Modulation Combine undecayed scan_rows
        scan_rows_of scan_image ssd_rows begin_with_zero SeedWay ImageWay SaveWay BetweenInferer StartNoise
        ScheduleSampler NoisePrepareBatch SigmaPrepareBatch churn churn_min churn_max churned guided
        classified CaseReport Report RunState LatentPicture LoadCased FinalOutputd SplitSpreadd spread
        plain_errors plain_line optimizers replacing""",
    "backbones": "kept earlier last totals counts time widths",
    "blocks": "mix absent Shortcut widths core earlier",
    "ops": "works wish borders core",
    "architectures": "Residual dense vector time widths",
    "diffusion": "between starts absent noise_scale after none given guidance",
    "inferers": "between way",
    "visualize": "plane grey paint tiles sheet",
    "handlers": "tiles bare",
}

# what is left of them, and why
ALIAS = "alias for bundles of version 0.4.0"
LEFT = {
    "backbones/__init__.py": {"Conditioning": ALIAS},
    "backbones/conditioning.py": {"time": "a module, named by the keys of weights; its output is time_emb"},
    "diffusion/__init__.py": {
        **dict.fromkeys(("ImageWay", "ScheduleSampler", "SeedWay", "SigmaPrepareBatch", "StartNoise"), ALIAS),
        "guidance": "the module of classifier-free guidance",
    },
    "diffusion/inferers.py": {"guidance": "the argument of 0.4.0"},
    "diffusion/sampling.py": {
        "guidance": "the module of classifier-free guidance",
        **dict.fromkeys(("churn", "churn_min", "churn_max", "noise_scale"), "the arguments of 0.4.0"),
    },
    "handlers/__init__.py": dict.fromkeys(("CaseReport", "LatentPicture", "Report", "RunState", "SaveWay"), ALIAS),
    "inferers/__init__.py": {"BetweenInferer": ALIAS},
    "transforms/__init__.py": dict.fromkeys(("FinalOutputd", "LoadCased", "SplitSpreadd"), ALIAS),
    "utils/__init__.py": {"plain_errors": ALIAS},
}


def names(path: Path) -> set[str]:
    """The identifiers in a file's code, without the underscore of those that are private to it."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return {token.string.lstrip("_") for token in tokens if token.type == tokenize.NAME}


def private_words(path: Path) -> set[str]:
    """The private words in a file's code."""
    room = path.relative_to(PACKAGE).parts[0]
    return names(path) & {*PRIVATE[""].split(), *PRIVATE.get(room, "").split()}


def test_private_words_do_not_come_back() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): private_words(path) for path in FILES}
    found = {name: words for name, words in found.items() if words}
    assert found == {name: set(reasons) for name, reasons in LEFT.items()}


def raised(path: Path) -> Iterator[tuple[int, str]]:
    """Line and source of what each error in a file says."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield node.lineno, ast.unparse(node.exc.args[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_messages_docstrings_and_imports_have_one_form(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # "<name> is <value found>; expected <what>: <how to mend it>"
    value = re.compile(r"""f?['"](\w+|\{name\}) (is|has shape) \{""")
    wrong = [(line, said) for line, said in raised(path) if value.match(said) and "expected" not in said]
    wrong += [(line, said) for line, said in raised(path) if re.search(r"\b(is|are) expected\b", said)]
    assert wrong == []
    # "Raises:" and then lines such as "ValueError: If ..."
    sections = re.findall(r"^( +)Raises:\n((?:\1 +\S.*\n)+)", text, re.MULTILINE)
    lines = [line for _, section in sections for line in section.splitlines()]
    assert [line for line in lines if re.match(r" +\w+(Error|Exception|Interrupt): (?!If )", line)] == []
    # the package's modules import each other by relative paths
    tree = ast.parse(text)
    absolute = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 0]
    absolute += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert [name for name in absolute if name.partition(".")[0] == "flemme_monai"] == []
