# A prediction. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.
suppressPackageStartupMessages(library(jsonlite))

# What is loaded here is loaded once. Replace it with your own model: model <- readRDS("model.rds")
model <- lm(mpg ~ wt + hp, data = mtcars)

# stop ends the job with that error, and the next one gets a new process.
predict_consumption <- function(query) {
  unname(predict(model, data.frame(wt = query$weight, hp = query$power)))
}

queries <- file("stdin", "r")
results <- file("/dev/fd/3", "w")
while (length(line <- readLines(queries, n = 1, encoding = "UTF-8", warn = FALSE)) > 0) {
  query <- fromJSON(line, simplifyVector = FALSE)
  # digits = NA keeps all digits
  writeLines(toJSON(predict_consumption(query), auto_unbox = TRUE, digits = NA), results, useBytes = TRUE)
  flush(results)
}
