//! From text to documents.
//!
//! Invariant: one parser for YAML and JSON, so that a text means the same whatever its file is called. Time and memory are
//! bounded by the size of the text: aliases may not multiply it. No message shows a value that may be secret.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use super::{Document, Lines, node::Node, schema};
use crate::{Problem, Problems};

/// Longest text that is looked at.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// A document, and where its fields were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parsed {
    /// What was written.
    pub document: Document,
    /// Where.
    pub lines: Lines,
}

/// Reads all documents of a text: YAML with `---` between documents, or JSON. `file` is how messages name it.
///
/// # Errors
/// When the text is too large, is no YAML, holds no document, or a document has unknown, missing or mistyped fields. All such
/// fields of all documents are reported, but nothing after a mistake in the YAML itself.
pub fn parse(text: &str, file: &str) -> Result<Vec<Parsed>, Problems> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let message = format!("{} bytes are too many: {} MiB is the most", text.len(), MAX_DOCUMENT_BYTES >> 20);
        return Err(Problem::error("", message).at(file, None).into());
    }
    let nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| syntax(&e, file))?;
    if nodes.is_empty() {
        return Err(Problem::error("", "no document in it").at(file, None).into());
    }
    let mut parsed = Vec::with_capacity(nodes.len());
    let mut problems = Vec::new();
    for node in nodes {
        match document(node, file) {
            Ok(one) => parsed.push(one),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() { Ok(parsed) } else { Err(Problems::capped(problems)) }
}

/// Checks that no id is used twice, in one file or over several.
///
/// # Errors
/// For each id that was seen before, naming both places.
pub fn check_unique(documents: &[Parsed]) -> Result<(), Problems> {
    let mut seen: HashMap<&str, &Lines> = HashMap::with_capacity(documents.len());
    let mut problems = Vec::new();
    for Parsed { document, lines } in documents {
        match seen.get(document.id.as_str()) {
            Some(first) => {
                let message = format!("{:?}: already used at {}", document.id, first.place("id"));
                problems.push(Problem::error("id", message).at(&lines.file, lines.line("id")));
            }
            None => {
                seen.insert(&document.id, lines);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems::capped(problems)) }
}

/// Room for a million entries in a list and for thousands of documents, none for expansion. Values are never guessed: `no` and
/// `on` are text, merge keys are refused.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 16_000_000,
            max_nodes: 16_000_000,
            max_documents: 65_536,
            max_depth: 16,
            flow_nesting_limit: 16,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 4,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn syntax(error: &serde_saphyr::Error, file: &str) -> Problem {
    let error = error.without_snippet();
    let line = error.location().and_then(|at| u32::try_from(at.line()).ok()).filter(|line| *line > 0);
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let message = message.split(" at line ").next().unwrap_or(&message);
    Problem::error("", message.to_owned()).at(file, line)
}

fn document(node: Node, file: &str) -> Result<Parsed, Vec<Problem>> {
    if node.fields().is_none() {
        let problem = Problem::error("", format!("expected the fields of a sandbox, found {}", node.kind_name()));
        return Err(vec![problem.at(file, Some(node.line))]);
    }
    let (mut problems, complete) = schema::check(&node);
    let mut lines = Lines { file: file.to_owned(), start: node.line, ..Lines::default() };
    let mut value = node.into_value(&mut String::new(), &mut lines);
    schema::prune(&mut value);
    if complete {
        match typed(&value) {
            Ok(document) if problems.is_empty() => return Ok(Parsed { document, lines }),
            Ok(_) => {}
            Err(problem) => {
                let line = lines.line(&problem.field);
                problems.push(problem.at(file, line));
            }
        }
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems.into_iter().map(|problem| problem.at(file, None)).collect())
}

fn typed(value: &Value) -> Result<Document, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = if error.path().iter().len() == 0 { String::new() } else { error.path().to_string() };
        mistyped(field, &error.inner().to_string(), at_path(value, error.path()))
    })
}

/// The problem behind one of serde's messages. Only what was expected is taken from it, because the rest may quote a secret.
fn mistyped(field: String, message: &str, found: Option<&Value>) -> Problem {
    if message.starts_with("unknown field") {
        return Problem::error(field, message);
    }
    let expected = message.rsplit_once("expected ").map_or("another value", |(_, expected)| expected);
    let expected = match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "fields",
        "u16" => "a whole number up to 65535",
        "u32" => "a whole number",
        expected if expected.starts_with("struct ") => "fields",
        expected => expected,
    };
    let (found, quotes_help) = match found {
        Some(Value::Null) => ("nothing", false),
        Some(Value::Bool(_)) => ("true or false", true),
        Some(Value::Number(_)) => ("a number", true),
        Some(Value::String(_)) => ("text", false),
        Some(Value::Array(_)) => ("a list", false),
        Some(Value::Object(_)) => ("fields", true),
        None => ("something else", false),
    };
    if !message.starts_with("invalid type") {
        return Problem::error(field, format!("expected {expected}"));
    }
    let problem = Problem::error(field, format!("expected {expected}, found {found}"));
    if quotes_help && expected == "text" { problem.hint("put it in quotes") } else { problem }
}

fn at_path<'v>(value: &'v Value, path: &serde_path_to_error::Path) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}
