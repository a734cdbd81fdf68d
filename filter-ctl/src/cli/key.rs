//! `key`: who may use the API over TCP.

use std::process::ExitCode;

use super::{
    arguments::KeyCommand,
    client::Client,
    error::Failure,
    output::{self, BOLD, Cell, GOOD, Output, PLAIN, WARN, paint, plain},
};
use crate::api::{Key, NewKey};

pub(super) async fn run(client: &Client, output: &mut Output, command: KeyCommand) -> Result<ExitCode, Failure> {
    match command {
        KeyCommand::Create { name, operator } => {
            let key: Key = client.post("/v1/keys", &NewKey { name, operator }).await?;
            if output.json {
                output.json(&key)?;
            } else {
                output.text(&format!("{}\n", key.key.as_deref().unwrap_or_default()))?;
                output.aside(&format!(
                    "{} key {} for {}; it is shown this once\n",
                    paint(GOOD, "✔"),
                    key.id,
                    plain(&key.name)
                ));
            }
        }
        KeyCommand::List => {
            let keys: Vec<Key> = client.get("/v1/keys").await?;
            match keys.as_slice() {
                all if output.json => output.json(&all)?,
                [] => output.aside("no keys: filter-ctl key create NAME makes one\n"),
                all => output.text(&table(all))?,
            }
        }
        KeyCommand::Revoke { id } => {
            let key: Key = client.delete(&format!("/v1/keys/{id}")).await?;
            if output.json {
                output.json(&key)?;
            } else {
                output.text(&format!("{} {} ({}) revoked\n", paint(WARN, "✔"), key.id, plain(&key.name)))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(keys: &[Key]) -> String {
    let mut rows = vec![["ID", "NAME", "MAY", "CREATED"].map(|title| Cell::new(BOLD, title)).into()];
    rows.extend(keys.iter().map(|key| {
        let may = if key.operator { "everything" } else { "its own sandboxes" };
        let created = i64::try_from(key.created).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let created = created.map(|time| time.to_string()).unwrap_or_default();
        vec![Cell::new(PLAIN, &key.id), Cell::new(PLAIN, &key.name), Cell::new(PLAIN, may), Cell::new(PLAIN, &created)]
    }));
    output::table(&rows, 3)
}
