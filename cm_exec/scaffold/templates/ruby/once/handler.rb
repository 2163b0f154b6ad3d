# A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
require "json"

def greet(query)
  abort "the name is empty" if query["name"].to_s.empty? # ends the job with that error
  "Hello, #{query["name"]}!"
end

# UTF-8 on both sides, whatever the locale: a container often has none.
query = JSON.parse($stdin.read.force_encoding("UTF-8"))
$stdout.write(JSON.generate(greet(query)))
