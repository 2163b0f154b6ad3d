# A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.
# What is loaded here, at the top, is loaded once and serves one job after another.
require "json"

results = IO.for_fd(3, "w")
results.sync = true # write each result at once

def greet(query)
  abort "the name is empty" if query["name"].to_s.empty? # this job gets the error, the next one a new process
  "Hello, #{query["name"]}!"
end

# UTF-8 on both sides, whatever the locale: a container often has none.
while (line = $stdin.gets)
  results.write("#{JSON.generate(greet(JSON.parse(line.force_encoding("UTF-8"))))}\n")
end
