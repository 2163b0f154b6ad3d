<?php
// A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
ini_set("display_errors", "stderr"); // PHP writes errors to stdout otherwise

function greet(array $query): string
{
    if (($query["name"] ?? "") === "") {
        throw new Exception("the name is empty"); // an uncaught exception ends the job with that error
    }
    return "Hello, {$query["name"]}!";
}

$query = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
fwrite(STDOUT, json_encode(greet($query), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES));
