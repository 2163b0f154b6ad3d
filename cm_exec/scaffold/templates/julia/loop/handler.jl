# A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.
import JSON

function greet(query)
    isempty(query["name"]) && error("the name is empty")
    return "Hello, $(query["name"])!"
end

try
    for line in eachline(stdin)
        println(JSON.json(greet(JSON.parse(line))))
        flush(stdout)
    end
catch problem
    println(stderr, sprint(showerror, problem))
    exit(1)  # this job gets the error, the next one a new process
end
