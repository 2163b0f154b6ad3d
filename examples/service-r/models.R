# Two functions in one R session, which loads its packages once.
library(jsonlite)

functions <- list(
  fit = function(query) {
    line <- lm(query$y ~ query$x)
    list(intercept = unname(coef(line)[1]), slope = unname(coef(line)[2]))
  },
  five_numbers = function(query) fivenum(query$values)
)

input <- file("stdin", open = "r")
results <- file("/dev/fd/3", open = "w") # with result_fd = 3, stdout is a log
while (length(line <- readLines(input, n = 1)) > 0) {
  job <- fromJSON(line)
  if (isTRUE(job$cancel)) next # R has one job at a time: it has answered, or will soon
  answer <- tryCatch(
    list(jobId = job$jobId, result = functions[[job$queryType]](job$query)),
    error = function(problem) list(jobId = job$jobId, error = conditionMessage(problem))
  )
  writeLines(gsub("\n", " ", toJSON(answer, auto_unbox = TRUE, digits = 6)), results)
  flush(results)
}
