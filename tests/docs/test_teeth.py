"""The checks find what they are for: each fault is written into a document or a source once, and named by its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import documentation, gcloud, paths, reading, shell, sources, tools
from tests.docs.faults import Code, Fault

PAGE = Path("docs/page.md")
WRONG_COMMANDS = {
    "make paln STATE_BUCKET=b": Code.MAKE,
    "make plan STATE_BUKET=b": Code.MAKE,
    "make plan": Code.MAKE,
    "python -m ops plan --projct team-a": Code.OPTION,
    "python -m ops dead-letter list": Code.OPTION,
    "python -m ops backfill --rate fast": Code.OPTION,
    "python -m ops explain": Code.OPTION,
    "python -m local fault add --efect drop": Code.OPTION,
    "python -m local.real biuld": Code.OPTION,
    "python -m tests.bench --quickly": Code.OPTION,
    "python -m obs plan": Code.OPTION,
    "python infra/terraform/package.py": Code.UNKNOWN,
    "gcloud builds approve BUILD --location europe-west1": Code.GCLOUD,
    "gcloud alpha builds approve BUILD --locaton europe-west1": Code.GCLOUD,
    "gcloud container clusters create blue --regoin europe-west1": Code.GCLOUD,
    "gcloud container clusters delete": Code.GCLOUD,
    "gcloud container cluster list": Code.GCLOUD,
    "gcloud logging read 'x' --limit many": Code.GCLOUD,
    "gcloud projects": Code.GCLOUD,
    "kubectl get secrets --show-lables": Code.KUBECTL,
    "kubectl -n argocd gett secrets": Code.KUBECTL,
    "kubectl -n argocd get secrts -l a=b": Code.KUBECTL,
    "kubectl get clusterroles,clusterrolebinding,clusterol": Code.KUBECTL,
    "kubectl auth can-i list secert -n argocd": Code.KUBECTL,
    "kubectl -n argocd rollout status deploymnt/argocd-server": Code.KUBECTL,
    "kubectl auth cani list secrets": Code.KUBECTL,
    "kubectl -n argocd rollout stat deployment/argocd-server": Code.KUBECTL,
    "kubectl apply -k infra/argocd/overlays/gkee": Code.FILE,
    "terraform -chdir=infra/terraform destory": Code.TERRAFORM,
    "terraform -chdir=infra/terraform output -jason environment": Code.TERRAFORM,
    "terraform -chdir=infra/terraform output identity": Code.TERRAFORM,
    "terraform -chdir=infra/terraform state remove x": Code.TERRAFORM,
    "terraform -chdir=infra/teraform plan": Code.FILE,
    "cp infra/terraform/terraform.tfvars.sample x": Code.FILE,
    "git psuh --tags": Code.GIT,
    "echo x | jq 'to_entries[]|'": Code.JQ,
    "registrar sync blue": Code.UNKNOWN,
    "for x in a b; do gcluod projects list; done": Code.UNKNOWN,
    'echo "$(kubctl get secrets)"': Code.UNKNOWN,
    "echo blue | xargs -n1 gcloud container clusters remove": Code.GCLOUD,
}
RIGHT_COMMANDS = [
    "make plan STATE_BUCKET=b",
    "make demo ARGOCD=real",
    "python -m ops dead-letters replay --all --reason 'used up' --dry-run",
    ".venv/bin/python -m local up --kube real",
    "gcloud alpha builds approve BUILD --location europe-west1",
    "gcloud container clusters create blue --region europe-west1 --labels env=prod",
    "kubectl -n argocd get secrets --show-labels --watch",
    "kubectl -n argocd rollout status deployment/argocd-server statefulset/argocd-application-controller",
    "kubectl auth can-i list secrets -n argocd --as you@example.com",
    "kubectl patch --local -f infra/argocd/values/values.yaml --type merge --patch-file values.json -o yaml",
    "kubectl diff --server-side -k infra/argocd/overlays/gke",
    "terraform -chdir=infra/terraform output -json environment | jq -r 'to_entries[]'",
    "git pull && make check",
]

WRONG_MENTIONS = {
    "gcloud builds approve BUILD --project $PROJECT --location $REGION": Code.GCLOUD,
    "gcloud container clusters craete": Code.GCLOUD,
    "make simulat": Code.MAKE,
    "ops dead-letters reply": Code.OPTION,
    "local attatch edge": Code.OPTION,
    "python -m ops adopt --dryrun": Code.OPTION,
    "kubectl gett secrets": Code.KUBECTL,
    "terraform ouput identities": Code.TERRAFORM,
}
WRONG_SOURCES = {
    'print(f"mend it, then: python -m ops dead-letters reply {letter}")': Code.OPTION,
    'raise E("log in: gcloud auth aplication-default login")': Code.GCLOUD,
    'print(f"run `make paln STATE_BUCKET={bucket}` first")': Code.MAKE,
    'k = f"kubectl -n {n}"\nprint(f"look: {k} gett secrets")': Code.KUBECTL,
    "x = 1  # `python -m ops pln` shows it": Code.OPTION,
    '"""As `gcloud projects get-iam` says."""': Code.GCLOUD,
}
WRONG_TERRAFORM = {
    'error_message = "run `make pakage` first"': Code.MAKE,
    "# `python -m ops adoptt` does\n# it": Code.OPTION,
    "  Run `ops adoptt` first.\n  EOT": Code.OPTION,
    'content = "`gcloud iam service-accounts disabel x` stops it"': Code.GCLOUD,
}
RIGHT_MENTIONS = [
    "gcloud builds list",
    "make plan",
    "ops explain",
    "kubectl apply -k",
    "gcloud container clusters update blue …",
]


def page(text: str) -> reading.Document:
    return reading.read(PAGE, text)


def codes(faults: list[Fault]) -> list[Code]:
    return [fault.code for fault in faults]


def here(command: str) -> str:
    """The command; the test is left out if the machine lacks its tool."""
    for tool in tools.missing():
        if tool in command:
            pytest.skip(f"left out: {tool} is not installed here")
    return command


def in_block(command: str) -> list[shell.Command]:
    return documentation.commands(page(f"```sh\n{command}\n```\n"))


def in_prose(mention: str) -> list[shell.Command]:
    return documentation.commands(page(f"Then `{mention}`."))


def in_python(source: str) -> list[shell.Command]:
    return sources.commands(sources.python_texts(PAGE, source))


def in_terraform(source: str) -> list[shell.Command]:
    return sources.commands(sources.other_texts(Path("infra/terraform/x.tf"), source))


@pytest.fixture(scope="module", autouse=True)
def linted() -> None:
    """Ask gcloud about all commands of this file at once."""
    if "gcloud" not in tools.missing():
        tables = (
            (in_block, (*WRONG_COMMANDS, *RIGHT_COMMANDS)),
            (in_prose, (*WRONG_MENTIONS, *RIGHT_MENTIONS, *RIGHT_COMMANDS)),
            (in_python, tuple(WRONG_SOURCES)),
            (in_terraform, tuple(WRONG_TERRAFORM)),
        )
        gcloud.lint(command for read, texts in tables for text in texts for command in read(text))


@pytest.mark.parametrize(("command", "code"), WRONG_COMMANDS.items(), ids=WRONG_COMMANDS)
def test_a_wrong_command_in_a_block_is_found(command: str, code: Code) -> None:
    found = tools.faults(in_block(here(command)))
    assert codes(found) == [code]


@pytest.mark.parametrize("command", RIGHT_COMMANDS)
def test_a_right_command_is_no_fault(command: str) -> None:
    text = f"Run `{here(command)}`:\n\n```sh\n{command}\n```\n"
    assert tools.faults(documentation.commands(page(text))) == []


@pytest.mark.parametrize(("mention", "code"), WRONG_MENTIONS.items())
def test_a_wrong_command_in_inline_code_is_found(mention: str, code: Code) -> None:
    assert codes(tools.faults(in_prose(here(mention)))) == [code]


@pytest.mark.parametrize("mention", RIGHT_MENTIONS)
def test_inline_code_may_leave_out_what_the_command_needs(mention: str) -> None:
    assert tools.faults(in_prose(here(mention))) == []


@pytest.mark.parametrize(
    ("block", "code"),
    {
        "```\nmake test\n```": Code.LANGUAGE,
        "```sh\nfor x in a; do echo $x\n```": Code.SYNTAX,
        "```sh\n$ make test\n```": Code.SYNTAX,
        "```sh\nmake test [--quick]\n```": Code.SYNTAX,
        "```sh\ngcloud container clusters update blue … --update-labels=a=b\n```": Code.SYNTAX,
        "```sh\nmake plan STATE_BUCKET=$BUCKET\n```": Code.VARIABLE,
        "```python\nfor x in\n```": Code.SYNTAX,
        "```yaml\na: b: c\n```": Code.SYNTAX,
        "```json\n{a}\n```": Code.SYNTAX,
    }.items(),
)
def test_a_wrong_block_is_found(block: str, code: Code) -> None:
    assert codes(documentation.block_faults(page(block))) == [code]


def test_a_variable_that_a_block_above_sets_is_known() -> None:
    text = "```sh\nexport BUCKET=b\n```\n\n```sh\nmake plan STATE_BUCKET=$BUCKET\n```\n"
    assert documentation.block_faults(page(text)) == []
    assert documentation.commands(page(text))[-1].words == ("make", "plan", "STATE_BUCKET=b")


@pytest.mark.parametrize(
    ("link", "code"),
    {
        "[x](nowhere.md)": Code.LINK,
        "![x](nowhere.svg)": Code.LINK,
        "[x](../../elsewhere.md)": Code.LINK,
        "[x](deploy.md#no-such-heading)": Code.HEADING,
        "[x](#no-such-heading)": Code.HEADING,
    }.items(),
)
def test_a_wrong_link_is_found(link: str, code: Code) -> None:
    assert codes(documentation.link_faults(page(link))) == [code]


def test_a_link_to_a_heading_is_no_fault() -> None:
    text = "# A `b`, c\n\n# A `b`, c\n\n[x](#a-b-c) [x](#a-b-c-1) [x](../README.md) [x](https://example.com/y#z)"
    assert documentation.link_faults(page(text)) == []


@pytest.mark.parametrize(
    "name", ["docs/dploy.md", "shared/sweepin.py", "sweepin.py", "infra/argocd/nowhere", "local/x/*"]
)
def test_a_named_file_that_is_not_there_is_found(name: str) -> None:
    assert codes(documentation.name_faults(page(f"See `{name}`."))) == [Code.FILE]


@pytest.mark.parametrize(("source", "code"), WRONG_SOURCES.items())
def test_a_wrong_command_in_a_python_source_is_found(source: str, code: Code) -> None:
    assert codes(tools.faults(in_python(here(source)))) == [code]


@pytest.mark.parametrize(("source", "code"), WRONG_TERRAFORM.items())
def test_a_wrong_command_in_terraform_is_found(source: str, code: Code) -> None:
    assert codes(tools.faults(in_terraform(here(source)))) == [code]


@pytest.mark.parametrize(
    ("comment", "code"),
    {
        "# see docs/dploy.md": Code.FILE,
        "# see docs/deploy.md#no-such-heading": Code.HEADING,
        '"""Decided in docs/decisions/9999."""': Code.FILE,
    }.items(),
)
def test_a_comment_that_refers_to_nothing_is_found(comment: str, code: Code) -> None:
    assert codes(sources.reference_faults(sources.python_texts(PAGE, comment))) == [code]
    items = sources.other_texts(Path("x.yaml"), "# " + comment.strip('"# '))
    assert codes(sources.reference_faults(items)) == [code]


def test_a_message_ends_where_its_prose_goes_on() -> None:
    items = sources.python_texts(PAGE, """print("x: gcloud a b --c='{1: 2, 3: 4}' (f), then g")""")
    assert [command.words for command in sources.commands(items)] == [("gcloud", "a", "b", "--c={1: 2, 3: 4}")]


def test_commands_in_pipes_loops_and_substitutions_are_read() -> None:
    text = "for x in $(a b | c); do d $x && e 'f g' > /dev/null; done\nH=1 i \\\n  -j \"$x k\" <<END\nl\nEND\n"
    found = shell.commands(text, "x", 1, shell.Variables())
    assert [command.words for command in found] == [
        ("a", "b"),
        ("c",),
        ("d", "1"),
        ("e", "f g"),
        ("i", "-j", "1 k"),
    ]
    assert [command.where for command in found] == ["x:1", "x:1", "x:1", "x:1", "x:2"]


def test_what_git_ignores_is_no_file_of_the_repository() -> None:
    assert "Makefile" in paths.files()
    assert not any(name.startswith(".venv/") for name in paths.files())
