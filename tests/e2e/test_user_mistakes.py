"""The mistakes of new users, in every language: each gives one message that names the cause and the remedy.

A new language is one row of LANGUAGES, or of COMPILED. A new mistake in a handler is one row of MISTAKES; those in its
file, and those that need more than one call, are below.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from junitparser import JUnitXml

from cm_exec.errors import ConfigError
from cm_exec.text import toml_value
from tests.support.dev_program import started_dev
from tests.support.scaffold import init, run
from tests.support.toml import function
from tests.support.tools import needs
from tests.support.worker_harness import WorkerHarness


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language: how a program looks in it, and the statements that handlers with mistakes are made of.

    `program` has a place for statements; `loop` repeats them for each line that it reads. `says` prints a text and a
    line end, `echoes` the line; both flush. `raises` fails with "no such customer", `exits` with a status. `nan` prints
    a value that is not a number, and `no_json` a value as people do it first, which then has `marks`. `no_result`
    prints the line's job ID in an envelope without a result. `buffers` is a handler that echoes into a buffer, where
    the language has one. `build` is how a program is compiled, and `runs` is then its command.
    """

    name: str
    extension: str
    program: str = "{}"
    separator: str = "\n"
    loop: str
    says: str
    echoes: str
    raises: str
    exits: str
    nan: str
    no_json: str
    marks: str
    no_result: str
    buffers: str = ""
    build: str = ""
    runs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name

    @property
    def script(self) -> str:
        return f"handler{self.extension}"

    def handler(self, *statements: str) -> str:
        """Return a program."""
        return self.program.replace("{}", self.separator.join(statements))

    def loops(self, *statements: str) -> str:
        """Return a statement that runs statements for each query."""
        return self.loop.replace("{}", "; ".join(statements))

    def says_text(self, text: str) -> str:
        return self.says.replace("{}", text)


LANGUAGES = [
    Language(
        name="bash",
        extension=".sh",
        loop="while read -r line; do {}; done",
        says="echo '{}'",
        echoes='echo "$line"',
        raises="echo no such customer >&2; exit 3",
        exits="exit {}",
        nan="awk 'BEGIN { print log(-1) }'",
        no_json="date +'it is %Y'",
        marks="it is 2",
        no_result='echo "${line%%,*}}"',
    ),
    Language(
        name="python3",
        extension=".py",
        program="import sys\n{}",
        loop="for line in sys.stdin: {}",
        says="print('{}', flush=True)",
        echoes="print(line, end='', flush=True)",
        raises="raise KeyError('no such customer')",
        exits="sys.exit({})",
        nan="print(float('nan'))",
        no_json="print({'a': 1})",
        marks="{'a': 1}",
        no_result="print(line.split(',')[0] + '}', flush=True)",
        buffers="import sys\nfor line in sys.stdin: print(line, end='')",
    ),
    Language(
        name="node",
        extension=".mjs",
        program="import { createInterface } from 'node:readline';\n{}",
        loop="for await (const line of createInterface(process.stdin)) { {} }",
        says="console.log('{}')",
        echoes="console.log(line)",
        raises="throw new Error('no such customer')",
        exits="process.exit({})",
        nan="console.log(NaN)",
        no_json="console.log({ a: 1 })",
        marks="{ a: 1 }",
        no_result="console.log(JSON.stringify({ jobId: JSON.parse(line).jobId, result: undefined }))",
    ),
    Language(
        name="ruby",
        extension=".rb",
        program="$stdout.sync = true\n{}",
        loop="while (line = $stdin.gets) do {} end",
        says="puts('{}')",
        echoes="print(line)",
        raises="raise 'no such customer'",
        exits="exit!({})",
        nan="puts(0.0 / 0)",
        no_json="p({ a: nil })",
        marks="nil",
        no_result="puts(line.split(',')[0] + '}')",
        buffers="while (line = $stdin.gets) do $stdout.write(line) end",
    ),
    Language(
        name="php",
        extension=".php",
        program="<?php {}",
        separator="; ",
        loop="while (($line = fgets(STDIN)) !== false) { {}; }",
        says='echo "{}\\n"',
        echoes="echo $line",
        raises="throw new Exception('no such customer');",
        exits="exit({});",
        nan="echo NAN;",
        no_json="print_r(['a' => 1]);",
        marks="Array",
        no_result="echo explode(',', $line)[0], '}', PHP_EOL",
    ),
    Language(
        name="perl",
        extension=".pl",
        program="$| = 1; {};",
        separator="; ",
        loop="while (my $line = <STDIN>) { {} }",
        says='print "{}\\n"',
        echoes="print $line",
        raises='die "no such customer\\n"',
        exits="exit {}",
        nan="print 9**9**9 / 9**9**9",
        no_json="print scalar localtime",
        marks=":",
        no_result="print((split /,/, $line)[0], qq(}\\n))",
        buffers="while (<STDIN>) { print }",
    ),
    Language(
        name="Rscript",
        extension=".R",
        program="input <- file('stdin', 'r')\n{}",
        loop="while (length(line <- readLines(input, n = 1)) > 0) { {} }",
        says="cat('{}\\n')",
        echoes="cat(line, '\\n', sep = '')",
        raises="stop('no such customer')",
        exits="quit(status = {})",
        nan="cat(NaN)",
        no_json="42",
        marks="[1] 42",
        no_result="cat(strsplit(line, ',')[[1]][1], '}\\n', sep = '')",
        buffers="input <- file('stdin', 'r'); output <- file('/dev/fd/1', 'w')\n"
        "while (length(line <- readLines(input, n = 1)) > 0) writeLines(line, output)",
    ),
]

COMPILED = [
    Language(
        name="go",
        extension=".go",
        build="go build -o handler handler.go",
        runs=["./handler"],
        program="package main\n"
        'import ("bufio"; "fmt"; "math"; "os"; "strings")\n'
        "var _, _, _, _, _ = bufio.NewScanner, fmt.Println, math.NaN, os.Exit, strings.Split\n"
        "func main() {\n{}\n}",
        loop="for in := bufio.NewScanner(os.Stdin); in.Scan(); { line := in.Text(); _ = line; {} }",
        says='fmt.Println("{}")',
        echoes="fmt.Println(line)",
        raises='panic("no such customer")',
        exits="os.Exit({})",
        nan="fmt.Println(math.NaN())",
        no_json='fmt.Println(map[string]int{"a": 1})',
        marks="map[a:1]",
        no_result='fmt.Println(strings.Split(line, ",")[0] + "}")',
        buffers="""package main
import ("bufio"; "fmt"; "os")
func main() {
    out := bufio.NewWriter(os.Stdout)
    for in := bufio.NewScanner(os.Stdin); in.Scan(); { fmt.Fprintln(out, in.Text()) }
}""",
    ),
    Language(
        name="java",
        extension=".java",
        build="javac -J-XX:TieredStopAtLevel=1 handler.java",
        runs=["java", "-cp", ".", "Handler"],
        program="class Handler { public static void main(String[] arguments) throws Exception {\n"
        "var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));\n{};\n} }",
        separator=";\n",
        loop="for (String line; (line = in.readLine()) != null;) { {}; }",
        says='System.out.println("{}")',
        echoes="System.out.println(line)",
        raises='if (true) throw new RuntimeException("no such customer")',
        exits="System.exit({})",
        nan="System.out.println(Double.NaN)",
        no_json='System.out.println(java.util.Map.of("a", 1))',
        marks="{a=1}",
        no_result='System.out.println(line.split(",")[0] + "}")',
        buffers="""class Handler { public static void main(String[] arguments) throws Exception {
    var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    var out = new java.io.PrintWriter(System.out);
    for (String line; (line = in.readLine()) != null;) out.println(line);
} }""",
    ),
    Language(
        name="gcc",
        extension=".c",
        build="gcc -o handler handler.c",
        runs=["./handler"],
        program="#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "int main(void) {\nchar line[9999]; setvbuf(stdout, NULL, _IOLBF, 0);\n{};\n}",
        separator=";\n",
        loop="while (fgets(line, 9999, stdin)) { {}; }",
        says='puts("{}")',
        echoes="fputs(line, stdout)",
        raises='fputs("no such customer\\n", stderr); exit(3)',
        exits="exit({})",
        nan='printf("%f", NAN)',
        no_json='printf("%p", (void *)main)',
        marks="0x",
        no_result='printf("%s}\\n", strtok(line, ","))',
        buffers="""#include <stdio.h>
int main(void) { char line[99]; while (fgets(line, 99, stdin)) fputs(line, stdout); }""",
    ),
    Language(
        name="rustc",
        extension=".rs",
        build="rustc -o handler handler.rs",
        runs=["./handler"],
        program="fn main() {\n{};\n}",
        separator=";\n",
        loop="for line in std::io::stdin().lines() { let line = line.unwrap(); {} }",
        says='println!("{}")',
        echoes='println!("{}", line)',
        raises='if true { panic!("no such customer") }',
        exits="std::process::exit({})",
        nan='println!("{}", f64::NAN)',
        no_json='println!("{:?}", Some(1))',
        marks="Some(1)",
        no_result='println!("{}}}", line.split(",").next().unwrap())',
        buffers="""use std::io::Write;
fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    for line in std::io::stdin().lines() { writeln!(out, "{}", line.unwrap()).unwrap(); }
}""",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake in a handler: its statements in a language, and what the caller gets.

    `shows` is in the error result: a part of the handler's own words, or of its wrong output.
    """

    statements: Callable[[Language], list[str]]
    persistent: bool = True
    envelope: bool = False
    reason: str
    message: str
    shows: Callable[[Language], str]


def its_words(_: Language) -> str:
    return "no such customer"


MISTAKES = {
    "fails": Mistake(
        statements=lambda it: [it.raises],
        persistent=False,
        reason="exit",
        message="the command of 'f' failed with exit status",
        shows=its_words,
    ),
    "fails without a word on stderr": Mistake(
        statements=lambda it: [it.says_text("no such customer"), it.exits.replace("{}", "3")],
        persistent=False,
        reason="exit",
        message="the command of 'f' failed with exit status 3",
        shows=its_words,
    ),
    "prints a value that is no JSON": Mistake(
        statements=lambda it: [it.no_json],
        persistent=False,
        reason="invalid_output",
        message="the output of 'f' is not JSON",
        shows=lambda it: it.marks,
    ),
    "NaN": Mistake(
        statements=lambda it: [it.nan],
        persistent=False,
        reason="invalid_output",
        message="the output of 'f' is not JSON",
        shows=lambda _: "nan",
    ),
    "crashes at its start": Mistake(
        statements=lambda it: [it.raises, it.loops(it.echoes)],
        reason="not_started",
        message="the process of 'f' ended before it was ready, with exit status",
        shows=its_words,
    ),
    "banner": Mistake(
        statements=lambda it: [it.says_text("Loading the model"), it.loops(it.echoes)],
        reason="out_of_step",
        message="the process of 'f' is out of step: it wrote ",  # a fast program has read the query by then
        shows=lambda _: "loading the model",
    ),
    "banner in JSON": Mistake(
        statements=lambda it: [it.says_text("0"), it.loops(it.echoes)],
        reason="out_of_step",
        message="the process of 'f' is out of step: it wrote ",
        shows=lambda _: "0",
    ),
    "print before the result": Mistake(
        statements=lambda it: [it.loops(it.says_text("debug"), it.echoes)],
        reason="out_of_step",
        message="the process of 'f' is out of step: it wrote ",
        shows=lambda _: "debug",
    ),
    "print after the result": Mistake(
        statements=lambda it: [it.loops(it.echoes, it.says_text("debug"))],
        reason="out_of_step",
        message="the process of 'f' is out of step: it wrote more than one message as a result",
        shows=lambda _: "debug",
    ),
    "forgotten return": Mistake(
        statements=lambda it: [it.loops(it.no_result)],
        envelope=True,
        reason="out_of_step",
        message="the process of 'f' is out of step: it wrote a jobId without a result",
        shows=lambda _: "jobid",
    ),
}


def each(languages: Sequence[Language]) -> pytest.MarkDecorator:
    tools = {"java": ("java", "javac")}
    cases = [pytest.param(one, marks=needs(*tools.get(one.name, (one.name,)))) for one in languages]
    return pytest.mark.parametrize("language", cases, ids=str)


each_language = each(LANGUAGES)
each_program = each([*LANGUAGES, *COMPILED])


def write(folder: Path, language: Language, text: str) -> list[str]:
    """Write a handler, build it if necessary, and return its command."""
    (folder / language.script).write_text(f"{text}\n")
    if language.build:
        cache = {"GOCACHE": str(folder.parent / "cache"), "GOFLAGS": "-mod=mod"}
        done = subprocess.run(
            language.build.split(), cwd=folder, env={**os.environ, **cache}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    return language.runs or [language.name, language.script]


def errors_of(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the only message of a run that fails without a traceback of cm-exec."""
    messages = [line for line in done.stderr.decode().splitlines() if line.startswith("cm-exec: ")]
    assert done.returncode != 0
    assert len(messages) == 1, messages
    assert b"this is a bug" not in done.stderr
    return messages[0]


def check(harness: WorkerHarness, command: list[str]) -> str:
    harness.write(function("f", command))
    return errors_of(harness.cm_exec("check"))


FIRST_LINES = {
    "crlf": ("#!/usr/bin/env {}\r\n", "has Windows line ends", "sed -i 's/\\r$//' "),
    "bom": ("\ufeff#!/usr/bin/env {}\n", "starts with a UTF-8 byte order mark", "sed -i '1s/^\\xEF\\xBB\\xBF//' "),
    "option": ("#!/usr/bin/env {} -x\n", "passes '{} -x' to env as one word", "write '#!/usr/bin/env -S {} -x'"),
    "missing": ("#!/usr/bin/env {}-9.9\n", "needs the interpreter '{}-9.9', which is not on PATH", "install it"),
    "none": ("# no first line for {}\n", "has no #! line", "add one, such as #!/bin/sh"),
}
"""Wrong first lines of scripts; the cause and the remedy that `check` names."""


@each_language
def test_mistakes_in_files(harness: WorkerHarness, language: Language) -> None:
    """`check` names the cause and the remedy of each mistake in a line of its own."""
    folder = harness.folder
    absent, plain, elsewhere = (f"{name}{language.extension}" for name in ("absent", "plain", "elsewhere"))
    (folder / plain).write_text(f"#!/usr/bin/env {language.name}\n")
    (folder / elsewhere).write_text("")
    expected = {
        "absent": ([language.name, absent], f"'{folder / absent}' does not exist", "create it, or correct its path"),
        "plain": ([f"./{plain}"], "is not executable", f"chmod +x {folder / plain}"),
        "elsewhere": ([elsewhere], f"command not found: '{elsewhere}' is not on PATH", f"write ./{elsewhere}"),
    }
    for name, (first_line, cause, remedy) in FIRST_LINES.items():
        script = folder / f"{name}{language.extension}"
        script.write_bytes(first_line.format(language.name).encode())
        script.chmod(0o755)
        expected[name] = ([f"./{script.name}"], cause.format(language.name), remedy.format(language.name))
    harness.write("".join(function(name, command) for name, (command, _, _) in expected.items()))
    checked = harness.cm_exec("check")
    assert checked.returncode == ConfigError.exit_code
    lines = checked.stderr.decode().removeprefix("cm-exec: ").splitlines()
    for line, (name, (_, cause, remedy)) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"cm.toml: functions.{name}: command: ")
        assert cause in line
        assert remedy in line


@each_language
def test_crlf_given_to_an_interpreter(harness: WorkerHarness, language: Language) -> None:
    """Windows line ends are an error for a shell; other interpreters take them, and the function works."""
    text = language.handler(language.loops(language.echoes)).replace("\n", "\r\n")
    (harness.folder / language.script).write_bytes(f"{text}\r\n".encode())
    command = [language.name, language.script]
    if language.name == "bash":
        message = check(harness, command)
        assert "has Windows line ends, and bash takes each carriage return for a part of the command" in message
        assert "convert it: sed -i 's/\\r$//' " in message
        return
    harness.write(function("f", command, mode="persistent", env={"TMPDIR": str(harness.folder)}))
    assert harness.cm_exec("check").returncode == 0
    assert harness.cm_exec("invoke", "f", "[1]").stdout == b"[1]"


@each_language
def test_program_without_path(harness: WorkerHarness, language: Language) -> None:
    """A script in the folder is not on PATH."""
    (harness.folder / language.script).write_text("")
    message = check(harness, [language.script])
    assert f"command not found: '{language.script}' is not on PATH" in message
    assert f"write ./{language.script}" in message


@pytest.mark.parametrize("name", ["go", "rust", "java", "c"])
def test_not_built(harness: WorkerHarness, name: str) -> None:
    """A program that must be built first: the remedy is `make build`."""
    assert init(harness.folder, "hello", "--lang", name).returncode == 0
    folder = harness.folder / "hello"
    done = run(folder, "cm-exec", "check")
    tool = {"java": "java"}.get(name, "sh")
    if run(folder, "sh", "-c", f"command -v {tool}").returncode:
        assert "command not found" in done.stderr
        return
    assert done.returncode == 3
    assert f"does not exist: run `make build` in {folder}" in done.stderr


def with_mistake(harness: WorkerHarness, language: Language, name: str) -> str:
    """Write a handler with a mistake; return its function of the same name, and a test of that."""
    mistake = MISTAKES[name]
    folder = harness.folder / name.replace(" ", "-")
    folder.mkdir()
    command = write(folder, language, language.handler(*mistake.statements(language)))
    more = {"mode": "persistent", "envelope": mistake.envelope} if mistake.persistent else {}
    environment = {"TMPDIR": str(harness.folder)}
    declared = function(name, command, cwd=folder.name, output="json", env=environment, **more)
    return f"{declared}[[tests]]\nfunction = {toml_value(name)}\nquery = [1]\nresult = 1\n\n"


@each_program
def test_mistakes(harness: WorkerHarness, language: Language) -> None:
    """`test` names the reason and the cause of each, and shows the handler's own words or its wrong output."""
    harness.write("".join(with_mistake(harness, language, name) for name in MISTAKES))
    tested = harness.cm_exec("test", "--junit", "report.xml")
    printed = tested.stdout.decode()
    told = {case.classname: case for suite in JUnitXml.fromfile(str(harness.folder / "report.xml")) for case in suite}
    assert told.keys() == MISTAKES.keys(), printed
    for name, mistake in MISTAKES.items():
        (error,) = told[name].result
        message = mistake.message.replace("'f'", repr(name))
        shown = mistake.shows(language).lower()
        assert error.type == mistake.reason, printed
        assert message in error.message, printed
        assert shown in f"{error.text}{told[name].system_err}".lower(), printed
        _, _, after = printed.partition(message)
        assert shown in after.partition("again: ")[0].lower(), printed


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(harness: WorkerHarness, name: str) -> None:
    """`invoke` and its error result do so, too."""
    mistake = MISTAKES[name]
    language = LANGUAGES[0]
    harness.write(with_mistake(harness, language, name))
    invoked = harness.cm_exec("invoke", name, "[1]")
    failure = json.loads(invoked.stdout)
    assert failure["reason"] == mistake.reason, failure
    assert mistake.shows(language).lower() in (failure.get("stderr", "") + failure.get("output", "")).lower()
    assert mistake.message.replace("'f'", repr(name)) in errors_of(invoked)


@each_program
def test_ends_after_one_answer(harness: WorkerHarness, language: Language) -> None:
    """A handler without its loop works, slowly; the log says so."""
    statements = [language.loops(language.echoes, language.exits.replace("{}", "0"))]
    command = write(harness.folder, language, language.handler(*statements))
    worker = harness.start(function("f", command, mode="persistent", env={"TMPDIR": str(harness.folder)}))
    for number in range(2):
        job = harness.runtime.submit("f", b"%d" % number)
        assert harness.runtime.result(job).body == b"%d" % number
    worker.wait_for_log(
        "WARNING [f] the process of 'f' ended after one answer instead of reading its next query, with exit status 0"
    )


@each([language for language in [*LANGUAGES, *COMPILED] if language.buffers])
def test_buffered(harness: WorkerHarness, language: Language) -> None:
    """An answer that is still in a buffer is diagnosed, on a terminal after two seconds already."""
    command = write(harness.folder, language, language.buffers)
    environment = {"PYTHONUNBUFFERED": "", "TMPDIR": str(harness.folder)}
    harness.write(function("f", command, mode="persistent", timeout=6, env=environment))
    invoked = harness.cm_exec_on_terminal("invoke", "f", "[1]")
    failure = json.loads(invoked.stdout)
    assert failure["reason"] == "timeout"
    advice = "its answer is probably in a buffer: flush the output after each answer"
    assert advice in failure["error"]
    assert [advice in line for line in invoked.stderr.decode().splitlines() if line.startswith("cm-exec: ")] == [
        True,
        False,
    ]


@pytest.mark.parametrize("command", ["invoke", "test", "dev"])
@pytest.mark.parametrize("name", ["go", "java"])
def test_run_before_it_is_built(harness: WorkerHarness, name: str, command: str) -> None:
    """Not only `check` names the remedy: a function that fails is looked at as `check` does."""
    assert init(harness.folder, "hello", "--lang", name).returncode == 0
    folder = harness.folder / "hello"
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    remedy = f"does not exist: run `make build` in {folder}"
    if command == "dev":
        with started_dev(folder) as program:
            program.wait_for_output(remedy)
        return
    arguments = ["greet", "--query-file", "query.json"] if command == "invoke" else []
    done = run(folder, "cm-exec", command, *arguments)
    assert done.stderr.count(remedy) == 1
