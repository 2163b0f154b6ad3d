# A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
import JSON

function greet(query)
    isempty(query["name"]) && error("the name is empty")
    return "Hello, $(query["name"])!"
end

try
    query = JSON.parse(read(stdin, String))
    print(JSON.json(greet(query)))
catch problem
    println(stderr, sprint(showerror, problem))
    exit(1)
end
