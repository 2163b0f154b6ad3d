"""The mistakes of new users, in every language: each gives one message that names the cause and the remedy.

A new language is one row of LANGUAGES, or of COMPILED.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.dev_program import started_dev
from tests.support.scaffold import init, run
from tests.support.toml import function
from tests.support.tools import needs
from tests.support.worker_harness import WorkerHarness


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language, and handlers with mistakes in it; empty where the language does not allow the mistake.

    `fails` ends with the text "no such customer"; `prints` is a persistent handler that prints a line of debug output
    before it echoes the query; `buffers` is one that echoes the query into a buffer; `no_json` prints `marks`.
    `build` is how it is compiled, `runs` is then its command.
    """

    program: str
    extension: str
    fails: str
    prints: str
    buffers: str = ""
    no_json: str
    marks: str
    build: str = ""
    runs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.program

    @property
    def script(self) -> str:
        return f"handler{self.extension}"


LANGUAGES = [
    Language(
        program="bash",
        extension=".sh",
        fails="echo no such customer >&2; exit 3",
        prints='while read -r line; do echo debug; echo "$line"; done',
        no_json="date +'it is %Y'",
        marks="it is 2",
    ),
    Language(
        program="python3",
        extension=".py",
        fails="raise KeyError('no such customer')",
        prints="import sys\nfor line in sys.stdin: print('debug'); print(line, end='', flush=True)",
        buffers="import sys\nfor line in sys.stdin: print(line, end='')",
        no_json="print({'a': 1})",
        marks="{'a': 1}",
    ),
    Language(
        program="node",
        extension=".mjs",
        fails="throw new Error('no such customer')",
        prints="import { createInterface } from 'node:readline';\n"
        "for await (const line of createInterface(process.stdin)) { console.log('debug'); console.log(line); }",
        no_json="console.log({ a: 1 })",
        marks="{ a: 1 }",
    ),
    Language(
        program="ruby",
        extension=".rb",
        fails="raise 'no such customer'",
        prints="while (line = $stdin.gets) do $stdout.write('debug', 10.chr, line); $stdout.flush end",
        buffers="while (line = $stdin.gets) do $stdout.write(line) end",
        no_json="p({ a: nil })",
        marks="nil",
    ),
    Language(
        program="php",
        extension=".php",
        fails="<?php throw new Exception('no such customer');",
        prints='<?php while (($line = fgets(STDIN)) !== false) { echo "debug\\n", $line; }',
        no_json="<?php print_r(['a' => 1]);",
        marks="Array",
    ),
    Language(
        program="perl",
        extension=".pl",
        fails='die "no such customer\\n"',
        prints='$| = 1; while (<STDIN>) { print "debug\\n"; print }',
        buffers="while (<STDIN>) { print }",
        no_json="print scalar localtime",
        marks=":",
    ),
    Language(
        program="Rscript",
        extension=".R",
        fails="stop('no such customer')",
        prints="input <- file('stdin', 'r')\n"
        "while (length(line <- readLines(input, n = 1)) > 0) { cat('debug\\n'); cat(line, '\\n', sep = '') }",
        buffers="input <- file('stdin', 'r'); output <- file('/dev/fd/1', 'w')\n"
        "while (length(line <- readLines(input, n = 1)) > 0) writeLines(line, output)",
        no_json="42",
        marks="[1] 42",
    ),
]

JAVA = "class Handler { public static void main(String[] arguments) throws Exception { %s } }"

COMPILED = [
    Language(
        program="go",
        extension=".go",
        build="go build -o handler handler.go",
        runs=["./handler"],
        fails='package main\nfunc main() { panic("no such customer") }',
        prints="""package main
import ("bufio"; "fmt"; "os")
func main() { for in := bufio.NewScanner(os.Stdin); in.Scan(); { fmt.Println("debug"); fmt.Println(in.Text()) } }""",
        buffers="""package main
import ("bufio"; "fmt"; "os")
func main() {
    out := bufio.NewWriter(os.Stdout)
    for in := bufio.NewScanner(os.Stdin); in.Scan(); { fmt.Fprintln(out, in.Text()) }
}""",
        no_json='package main\nimport "fmt"\nfunc main() { fmt.Println(map[string]int{"a": 1}) }',
        marks="map[a:1]",
    ),
    Language(
        program="java",
        extension=".java",
        build="javac handler.java",
        runs=["java", "-cp", ".", "Handler"],
        fails=JAVA % 'throw new RuntimeException("no such customer");',
        prints=JAVA
        % """var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null;) { System.out.println("debug"); System.out.println(line); }""",
        buffers=JAVA
        % """var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    var out = new java.io.PrintWriter(System.out);
    for (String line; (line = in.readLine()) != null;) out.println(line);""",
        no_json=JAVA % 'System.out.println(java.util.Map.of("a", 1));',
        marks="{a=1}",
    ),
    Language(
        program="gcc",
        extension=".c",
        build="gcc -o handler handler.c",
        runs=["./handler"],
        fails='#include <stdio.h>\nint main(void) { fputs("no such customer\\n", stderr); return 3; }',
        prints="""#include <stdio.h>
int main(void) {
    char line[99];
    while (fgets(line, 99, stdin)) { puts("debug"); fputs(line, stdout); fflush(stdout); }
}""",
        buffers="""#include <stdio.h>
int main(void) { char line[99]; while (fgets(line, 99, stdin)) fputs(line, stdout); }""",
        no_json='#include <stdio.h>\nint main(void) { printf("%p", (void *)main); }',
        marks="0x",
    ),
    Language(
        program="rustc",
        extension=".rs",
        build="rustc -o handler handler.rs",
        runs=["./handler"],
        fails='fn main() { panic!("no such customer") }',
        prints="""fn main() {
    for line in std::io::stdin().lines() { println!("debug"); println!("{}", line.unwrap()); }
}""",
        buffers="""use std::io::Write;
fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    for line in std::io::stdin().lines() { writeln!(out, "{}", line.unwrap()).unwrap(); }
}""",
        no_json='fn main() { println!("{:?}", Some(1)); }',
        marks="Some(1)",
    ),
]


def each(languages: Sequence[Language]) -> pytest.MarkDecorator:
    tools = {"java": ("java", "javac")}
    cases = [pytest.param(one, marks=needs(*tools.get(one.program, (one.program,)))) for one in languages]
    return pytest.mark.parametrize("language", cases, ids=str)


each_language = each(LANGUAGES)
each_program = each([*LANGUAGES, *COMPILED])


def write(harness: WorkerHarness, language: Language, text: str) -> list[str]:
    """Write a handler, build it if necessary, and return its command."""
    (harness.folder / language.script).write_text(f"{text}\n")
    if language.build:
        cache = {"GOCACHE": str(harness.folder / "cache"), "GOFLAGS": "-mod=mod"}
        done = subprocess.run(
            language.build.split(), cwd=harness.folder, env={**os.environ, **cache}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    return language.runs or [language.program, language.script]


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


@each_language
def test_missing_script(harness: WorkerHarness, language: Language) -> None:
    message = check(harness, [language.program, language.script])
    assert f"the script '{harness.folder / language.script}' does not exist: create it, or correct its path" in message


@each_language
def test_not_executable(harness: WorkerHarness, language: Language) -> None:
    script = harness.folder / language.script
    script.write_text(f"#!/usr/bin/env {language.program}\n")
    assert f"is not executable: chmod +x {script}" in check(harness, [f"./{language.script}"])


@pytest.mark.parametrize(
    ("first_line", "cause", "remedy"),
    [
        ("#!/usr/bin/env {}\r\n", "has Windows line ends", "sed -i 's/\\r$//' "),
        ("\ufeff#!/usr/bin/env {}\n", "starts with a UTF-8 byte order mark", "sed -i '1s/^\\xEF\\xBB\\xBF//' "),
        ("#!/usr/bin/env {} -x\n", "passes '{} -x' to env as one word", "write '#!/usr/bin/env -S {} -x'"),
        ("#!/usr/bin/env {}-9.9\n", "needs the interpreter '{}-9.9', which is not on PATH", "install it"),
        ("# no first line for {}\n", "has no #! line", "add one, such as #!/bin/sh"),
    ],
    ids=["CRLF", "BOM", "option", "missing", "none"],
)
@each_language
def test_first_line(harness: WorkerHarness, language: Language, first_line: str, cause: str, remedy: str) -> None:
    script = harness.folder / language.script
    script.write_bytes(first_line.format(language.program).encode())
    script.chmod(0o755)
    message = check(harness, [f"./{language.script}"])
    assert cause.format(language.program) in message
    assert remedy.format(language.program) in message


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


@pytest.mark.parametrize(
    ("mistake", "reason", "message"),
    [("fails", "exit", "the command of 'f' failed with exit status"), ("no_json", "invalid_output", "is not JSON")],
)
@each_program
def test_own_words(harness: WorkerHarness, language: Language, mistake: str, reason: str, message: str) -> None:
    """The handler's own words, or its wrong output, are in the error result, and in what `test` prints."""
    command = write(harness, language, getattr(language, mistake))
    test = '[[tests]]\nfunction = "f"\nquery = 1\nresult = 1\n'
    harness.write(function("f", command, output="json") + test)
    own_words = "no such customer" if mistake == "fails" else language.marks
    invoked = harness.cm_exec("invoke", "f", "1")
    failure = json.loads(invoked.stdout)
    assert failure["reason"] == reason
    assert own_words in failure.get("stderr", "") + failure.get("output", "")
    assert message in errors_of(invoked)
    tested = harness.cm_exec("test").stdout.decode()
    assert own_words in tested
    assert message in tested


@each_program
def test_stray_print(harness: WorkerHarness, language: Language) -> None:
    """A print in a persistent handler is an error that shows it, never a result."""
    command = write(harness, language, language.prints)
    harness.write(function("f", command, mode="persistent", env={"TMPDIR": str(harness.folder)}))
    for _ in range(5):
        invoked = harness.cm_exec("invoke", "f", "[1]")
        failure = json.loads(invoked.stdout)
        assert failure["reason"] == "out_of_step"
        assert failure["output"].startswith("debug")
        assert "the process of 'f' is out of step" in errors_of(invoked)


@each([language for language in [*LANGUAGES, *COMPILED] if language.buffers])
def test_buffered(harness: WorkerHarness, language: Language) -> None:
    """An answer that is still in a buffer is diagnosed, on a terminal after two seconds already."""
    command = write(harness, language, language.buffers)
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
