# A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
library(jsonlite)

greet <- function(query) {
  if (!nzchar(query$name)) stop("the name is empty", call. = FALSE)
  paste0("Hello, ", query$name, "!")
}

# UTF-8 on both sides, whatever the locale: a container often has none.
text <- readLines(file("stdin"), encoding = "UTF-8", warn = FALSE)
query <- fromJSON(paste(text, collapse = "\n"), simplifyVector = FALSE)
writeLines(toJSON(greet(query), auto_unbox = TRUE), useBytes = TRUE)
