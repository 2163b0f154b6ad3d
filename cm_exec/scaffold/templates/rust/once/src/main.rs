//! A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.

use std::error::Error;
use std::io;
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
    let query = serde_json::from_reader(io::stdin().lock())?;
    serde_json::to_writer(io::stdout().lock(), &greet(&query)?)?;
    Ok(())
}

fn main() -> ExitCode {
    if let Err(error) = serve() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
