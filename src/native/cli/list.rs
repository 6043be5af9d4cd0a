//! `walferry list`

use clap::Args;

use super::control_socket::Question;
use super::failure::Failure;
use crate::native::fleet::control::{DatabaseAnswer, ask_list};

/// List the databases that the walferry that runs replicates
///
/// Where each of their replicas stands, and what fails: at its control socket. What a configuration would have replicated is
/// listed by walferry databases.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    question: Question,
}

pub(super) async fn run(arguments: List) -> Result<(), Failure> {
    arguments.question.answer(ask_list, |answer| text(answer)).await
}

fn text(answer: &[DatabaseAnswer]) -> String {
    let mut text = String::new();
    for database in answer {
        let failure = database
            .failure
            .as_ref()
            .map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!(
            "{} is {}{failure}\n",
            database.path.display(),
            database.status
        ));
        for replica in &database.replicas {
            let at = replica
                .txid
                .map_or("nothing yet".to_owned(), |txid| txid.to_string());
            let failure = replica
                .failure
                .as_ref()
                .map_or(String::new(), |why| format!(": {why}"));
            text.push_str(&format!("  {} has {at}{failure}\n", replica.replica));
        }
    }
    text
}
