//! `parlor profile record` and `parlor profile infer`: learns an event profile.

use std::io::Write;
use std::process::ExitCode;

use super::{print, report};
use parlor::config::Invalid;
use parlor::config::record::Order;
use parlor::record::{self, RecordError};

/// Executes the command, and prints the learned profile or the reason why there is none.
pub(crate) fn run(order: Result<Order, Invalid>) -> ExitCode {
    let order = match order {
        Ok(order) => order,
        Err(invalid) => return report(&invalid),
    };
    match learn(&order) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            _ = writeln!(std::io::stderr(), "parlor: {:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn learn(order: &Order) -> Result<String, RecordError> {
    record::run(order).await
}
