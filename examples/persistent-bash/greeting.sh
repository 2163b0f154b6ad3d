#!/usr/bin/env bash
# A greeting in the language that was asked for. `read -r` keeps backslashes as they are.
declare -A greetings=([en]=Hello [de]=Hallo [fr]=Bonjour)

while IFS= read -r query; do
    [[ $query =~ \"language\"[[:space:]]*:[[:space:]]*\"([a-z]+)\" ]] || { echo "the query has no language" >&2; exit 1; }
    printf '{"greeting": "%s"}\n' "${greetings[${BASH_REMATCH[1]}]:-Hello}"
done
