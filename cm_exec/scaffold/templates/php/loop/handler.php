<?php
// A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.
// What is loaded here, at the top, is loaded once and serves one job after another.
ini_set("display_errors", "stderr"); // PHP writes errors to stdout otherwise
$results = fopen("php://fd/3", "w");

function greet(array $query): string
{
    if (($query["name"] ?? "") === "") {
        throw new Exception("the name is empty"); // this job gets the error, the next one a new process
    }
    return "Hello, {$query["name"]}!";
}

while (($line = fgets(STDIN)) !== false) {
    $query = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    fwrite($results, json_encode(greet($query), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE) . "\n");
    fflush($results);
}
