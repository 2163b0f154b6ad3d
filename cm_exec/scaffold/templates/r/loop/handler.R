# A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.
suppressPackageStartupMessages(library(jsonlite))

# stop ends the job with that error, and the next one gets a new process.
greet <- function(query) {
  if (!nzchar(query$name)) stop("the name is empty", call. = FALSE)
  paste0("Hello, ", query$name, "!")
}

# UTF-8 on both sides, whatever the locale: a container often has none.
queries <- file("stdin", "r")
results <- file("/dev/fd/3", "w")
while (length(line <- readLines(queries, n = 1, encoding = "UTF-8", warn = FALSE)) > 0) {
  query <- fromJSON(line, simplifyVector = FALSE)
  writeLines(toJSON(greet(query), auto_unbox = TRUE), results, useBytes = TRUE)
  flush(results)
}
