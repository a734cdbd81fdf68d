//! `apply`: documents to the daemon.
//!
//! Invariant: nothing is sent before every document is known to be good in itself.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use filter_policy::{Parsed, SandboxId};

use super::{
    client::Client,
    documents,
    error::Failure,
    output::{self, BAD, Cell, DIM, GOOD, Output, PLAIN},
};
use crate::api::{Applied, ApplyDocument, ApplyReply, ApplyRequest, Change, SandboxStatus};

/// How long a failure waits to learn what stays in effect.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most sandboxes that a failure names.
const NAMED: usize = 5;

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    inputs: &[PathBuf],
    dry_run: bool,
    verbose: bool,
) -> Result<ExitCode, Failure> {
    let documents = documents::read(inputs, &documents::no_limits());
    let ids: Vec<String> = documents.parsed.iter().map(|one| one.document.id.clone()).collect();
    let reply = if documents.problems.is_empty() {
        send(client, documents.parsed, dry_run).await
    } else {
        Err(Failure::documents(documents.problems))
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => return Err(with_what_stays(client, failure, &ids).await),
    };
    if output.json {
        output.json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    output.text(&lines(&reply, dry_run, verbose))?;
    let warnings: String = reply.results.iter().flat_map(|result| &result.warnings).map(output::problem).collect();
    output.aside(&warnings);
    Ok(ExitCode::SUCCESS)
}

async fn send(client: &Client, parsed: Vec<Parsed>, dry_run: bool) -> Result<ApplyReply, Failure> {
    let documents =
        parsed.into_iter().map(|Parsed { document, lines }| ApplyDocument { document, lines: Some(lines) }).collect();
    client.post("/v1/apply", &ApplyRequest { documents, dry_run }).await
}

/// The failure, with the generations that the documents' sandboxes are at, as far as the daemon says.
async fn with_what_stays(client: &Client, failure: Failure, ids: &[String]) -> Failure {
    let Failure::Refused { reply, .. } = failure else { return failure };
    let ids: Vec<_> = ids.iter().filter_map(|id| SandboxId::parse(id)).collect();
    let known = if ids.len() <= NAMED { generations(client, &ids).await } else { Vec::new() };
    // A kernel that refused may have refused to take something back as well.
    let (verb, certain) = if reply.code < 500 { ("stays", true) } else { ("is", false) };
    let known: Vec<_> =
        known.iter().map(|(id, generation)| format!("{id} {verb} at generation {generation}")).collect();
    let stays = match (known.is_empty(), certain) {
        (true, true) => Some("nothing was changed".to_owned()),
        (false, true) => Some(format!("nothing was changed ({})", known.join(", "))),
        (true, false) => None,
        (false, false) => Some(known.join(", ")),
    };
    Failure::Refused { reply, stays }
}

/// The generations of those sandboxes that there are; none when the daemon does not say so in time.
async fn generations<'i>(client: &Client, ids: &'i [SandboxId]) -> Vec<(&'i SandboxId, u32)> {
    let ask = async {
        let mut found = Vec::new();
        for id in ids {
            if let Ok(status) = client.get::<SandboxStatus>(&format!("/v1/sandboxes/{id}")).await {
                found.push((id, status.generation));
            }
        }
        found
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or_default()
}

/// A line for each document; with `verbose` and the entries that change below it.
fn lines(reply: &ApplyReply, dry_run: bool, verbose: bool) -> String {
    let rows: Vec<_> = reply.results.iter().map(|result| row(result, dry_run)).collect();
    let table = output::table(&rows, 3);
    if !verbose {
        return table;
    }
    let blocks = table.lines().zip(&reply.results).map(|(line, result)| format!("{line}\n{}", entries(result)));
    blocks.collect()
}

fn row(result: &Applied, dry_run: bool) -> Vec<Cell> {
    let word = match (result.change, dry_run) {
        (Change::Created, false) => "created",
        (Change::Created, true) => "would be created",
        (Change::Updated, false) => "updated",
        (Change::Updated, true) => "would be updated",
        (Change::Unchanged, _) => "unchanged",
    };
    let style = if result.change == Change::Unchanged { DIM } else { PLAIN };
    let generation = match result.generation_before {
        Some(before) if before != result.generation => format!("generation {before} → {}", result.generation),
        _ => format!("generation {}", result.generation),
    };
    let timed = !dry_run && result.change != Change::Unchanged;
    vec![
        Cell::new(if dry_run { DIM } else { GOOD }, &format!("{} {}", if dry_run { "·" } else { "✔" }, result.id)),
        Cell::new(style, word),
        Cell::new(style, &generation),
        Cell::new(style, &if result.change == Change::Updated { changes(result) } else { attached(result) }),
        Cell::new(PLAIN, &if timed { format!("confirmed {:.1} ms", result.confirmed_ms) } else { String::new() }),
    ]
}

/// `veth7 (tcx)`.
fn attached(result: &Applied) -> String {
    format!("{} ({})", result.device, result.hook)
}

/// `+2 −1 entries, name changed`.
fn changes(result: &Applied) -> String {
    let (added, removed) = (result.added.len(), result.removed.len());
    let noun = if added + removed == 1 { "entry" } else { "entries" };
    let entries = match (added, removed) {
        (0, 0) => None,
        (added, 0) => Some(format!("+{added} {noun}")),
        (0, removed) => Some(format!("−{removed} {noun}")),
        (added, removed) => Some(format!("+{added} −{removed} {noun}")),
    };
    let fields = (!result.fields.is_empty()).then(|| format!("{} changed", result.fields.join(", ")));
    let parts: Vec<String> = entries.into_iter().chain(fields).collect();
    if parts.is_empty() { "no entry".to_owned() } else { parts.join(", ") }
}

fn entries(result: &Applied) -> String {
    let line = |style, sign: &str, entry: &String| {
        format!("    {}\n", output::paint(style, format_args!("{sign} {}", output::plain(entry))))
    };
    let added = result.added.iter().map(|entry| line(GOOD, "+", entry));
    let removed = result.removed.iter().map(|entry| line(BAD, "−", entry));
    removed.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(change: Change) -> Applied {
        Applied {
            id: "agent".to_owned(),
            change,
            device: "veth7".to_owned(),
            hook: "tcx".to_owned(),
            generation_before: None,
            generation: 1,
            added: Vec::new(),
            removed: Vec::new(),
            fields: Vec::new(),
            confirmed_ms: 8.44,
            warnings: Vec::new(),
        }
    }

    fn updated() -> Applied {
        Applied {
            id: "ci42".to_owned(),
            generation_before: Some(7),
            generation: 8,
            added: vec!["allowOut 1.2.3.0/24".to_owned(), "allowOut a.example".to_owned()],
            removed: vec!["denyOut 8.8.8.8".to_owned()],
            ..applied(Change::Updated)
        }
    }

    fn plain(results: Vec<Applied>, dry_run: bool, verbose: bool) -> String {
        anstream::adapter::strip_str(&lines(&ApplyReply { results }, dry_run, verbose)).to_string()
    }

    #[test]
    fn a_line_for_each_document() {
        assert_eq!(
            plain(vec![applied(Change::Created), updated(), applied(Change::Unchanged)], false, false),
            "\
✔ agent   created     generation 1       veth7 (tcx)     confirmed 8.4 ms
✔ ci42    updated     generation 7 → 8   +2 −1 entries   confirmed 8.4 ms
✔ agent   unchanged   generation 1       veth7 (tcx)
"
        );
    }

    #[test]
    fn a_dry_run_says_would() {
        assert_eq!(
            plain(vec![applied(Change::Created), updated()], true, false),
            "\
· agent   would be created   generation 1       veth7 (tcx)
· ci42    would be updated   generation 7 → 8   +2 −1 entries
"
        );
    }

    #[test]
    fn entries_when_asked() {
        assert_eq!(
            plain(vec![updated()], false, true),
            "\
✔ ci42   updated   generation 7 → 8   +2 −1 entries   confirmed 8.4 ms
    − denyOut 8.8.8.8
    + allowOut 1.2.3.0/24
    + allowOut a.example
"
        );
    }

    #[test]
    fn changes_in_words() {
        let with = |added: usize, removed: usize, fields: &[&str]| {
            let some = |count| vec!["allowOut 1.1.1.1".to_owned(); count];
            let fields = fields.iter().map(ToString::to_string).collect();
            changes(&Applied { added: some(added), removed: some(removed), fields, ..applied(Change::Updated) })
        };
        assert_eq!(with(1, 0, &[]), "+1 entry");
        assert_eq!(with(0, 2, &["name", "mac"]), "−2 entries, name, mac changed");
        assert_eq!(with(0, 0, &["onDeny"]), "onDeny changed");
        assert_eq!(with(0, 0, &[]), "no entry");
    }
}
