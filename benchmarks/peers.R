# Runs deSolve or mrgsolve over the patients that engines.py wrote, and writes seconds and states back.
# Rscript peers.R ENGINE FORM RTOL ATOL REPEATS FOLDER

arguments <- commandArgs(trailingOnly = TRUE)
engine <- arguments[1]; form <- arguments[2]
rtol <- as.numeric(arguments[3]); atol <- as.numeric(arguments[4]); repeats <- as.integer(arguments[5])
folder <- arguments[6]
read <- function(name) as.matrix(read.csv(file.path(folder, name)))
parameters <- read("parameters.csv"); start <- read(paste0("start_", form, ".csv")); times <- read("times.csv")[, 1]
n <- nrow(parameters); m <- length(times)
states <- array(NA_real_, c(m, ncol(start), n))
seconds <- numeric(repeats)

if (engine == "deSolve") {
  suppressMessages(library(deSolve))
  dyn.load(file.path(folder, paste0("desolve", .Platform$dynlib.ext)))
  for (r in seq_len(repeats)) {
    began <- proc.time()[["elapsed"]]
    for (i in seq_len(n)) {
      # A patient in whom lsoda fails is an error, or a run that is cut short.
      run <- tryCatch(suppressWarnings(lsoda(start[i, ], times, form, parameters[i, ], rtol, atol,
                                             initfunc = "initmod", dllname = "desolve", maxsteps = 10000)),
                      error = function(problem) NULL)
      whole <- !is.null(run) && nrow(run) == m && attr(run, "istate")[1] == 2
      states[, , i] <- if (whole) run[, -1] else NA_real_
    }
    seconds[r] <- proc.time()[["elapsed"]] - began
  }
} else {
  suppressMessages(library(mrgsolve))
  code <- paste(readLines(file.path(folder, paste0("mrgsolve_", form, ".txt"))), collapse = "\n")
  model <- update(mcode(paste0("clinical_", form), code, soloc = folder, quiet = TRUE), rtol = rtol, atol = atol,
                  maxsteps = 10000)
  patients <- as.data.frame(parameters)
  patients$ID <- seq_len(n)
  for (k in colnames(start)) patients[[paste0("start_", k)]] <- start[, k]
  all_of <- function(some) tryCatch(mrgsim_i(model, some, tgrid = times, output = "df"), error = function(problem) NULL)
  # One patient whom it gives up ends the run of all: those are found one by one, count as failed, and the others timed.
  whole <- seq_len(n)
  if (is.null(all_of(patients))) whole <- Filter(function(i) !is.null(all_of(patients[i, ])), whole)
  for (r in seq_len(repeats)) {
    began <- proc.time()[["elapsed"]]
    run <- mrgsim_i(model, patients[whole, ], tgrid = times, output = "df")
    seconds[r] <- proc.time()[["elapsed"]] - began
  }
  for (i in seq_len(n)) {
    own <- as.matrix(run[run$ID == i, colnames(start)])
    if (nrow(own) == m) states[, , i] <- own
  }
}
writeBin(c(seconds, as.vector(states)), file.path(folder, "result.bin"))
