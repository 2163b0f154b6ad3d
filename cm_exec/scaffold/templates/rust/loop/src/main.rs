//! A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;

#[derive(Deserialize)]
struct Query {
    name: String,
}

fn greet(query: &Query) -> Result<String, Box<dyn Error>> {
    if query.name.is_empty() {
        return Err("the name is empty".into());
    }
    Ok(format!("Hello, {}!", query.name))
}

fn serve() -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let query = serde_json::from_str(&line?)?;
        println!("{}", serde_json::to_string(&greet(&query)?)?);
        io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    if let Err(error) = serve() {
        eprintln!("{error}"); // this job gets the error, the next one a new process
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
