//! Reading documents from files, directories and standard input.
//!
//! Invariant: no more than the largest document is ever held of one input, whatever kind of file it is. All that is wrong with
//! all inputs is told at once.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use filter_policy::{
    Limits, Parsed, Problem, Sandbox,
    document::{MAX_DOCUMENT_BYTES, check_unique},
    parse, validate,
};

/// What was found in the inputs.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// Documents that could be read, in the order of the inputs.
    pub(super) parsed: Vec<Parsed>,
    /// Those of them that are valid, with their positions in `parsed`.
    pub(super) valid: Vec<(usize, Sandbox)>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
}

/// Reads and checks every input.
pub(super) fn read(inputs: &[PathBuf], limits: &Limits) -> Documents {
    let mut documents = Documents::default();
    for input in inputs {
        match files(input) {
            Ok(files) => files.iter().for_each(|file| documents.add(file, limits)),
            Err(problem) => documents.problems.push(problem),
        }
    }
    if let Err(problems) = check_unique(&documents.parsed) {
        documents.problems.extend(problems.0);
    }
    documents
}

impl Documents {
    fn add(&mut self, path: &Path, limits: &Limits) {
        let name = name(path);
        let parsed = match text(path).and_then(|text| parse(&text, &name).map_err(|problems| problems.0)) {
            Ok(parsed) => parsed,
            Err(problems) => return self.problems.extend(problems),
        };
        for one in parsed {
            match validate(&one.document, Some(&one.lines), limits) {
                Ok(sandbox) => self.valid.push((self.parsed.len(), sandbox)),
                Err(problems) => self.problems.extend(problems.0),
            }
            self.parsed.push(one);
        }
    }
}

/// Limits that nothing exceeds: the daemon knows the operator's.
pub(super) fn no_limits() -> Limits {
    Limits {
        rule_hosts: usize::MAX,
        transforms_per_host: usize::MAX,
        headers_per_transform: usize::MAX,
        host_bytes: usize::MAX,
        header_name_bytes: usize::MAX,
        header_value_bytes: usize::MAX,
    }
}

/// The files that an input stands for: of a directory those with documents, in the order of their names.
fn files(input: &Path) -> Result<Vec<PathBuf>, Problem> {
    if is_stdin(input) || !input.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(input).map_err(|error| unreadable(input, &error))? {
        let path = entry.map_err(|error| unreadable(input, &error))?.path();
        if holds_documents(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Problem::error("", "no *.yaml, *.yml or *.json in this directory").at(&name(input), None));
    }
    Ok(files)
}

/// By the name, leaving out hidden files such as an editor's.
fn holds_documents(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden
        && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

fn text(path: &Path) -> Result<String, Vec<Problem>> {
    let bytes = bytes(path).map_err(|problem| vec![problem])?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        vec![Problem::error("", "not UTF-8 text").at(&name(path), u32::try_from(line).ok())]
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut bytes = Vec::new();
    let most = MAX_DOCUMENT_BYTES as u64;
    if is_stdin(path) {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_file() && about.len() > most {
            return Err(too_large(path));
        }
        file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > most { Err(too_large(path)) } else { Ok(bytes) }
}

fn too_large(path: &Path) -> Problem {
    let problem = Problem::error("", format!("larger than {} MiB", MAX_DOCUMENT_BYTES >> 20));
    problem.hint("write prefixes instead of single addresses, or several documents").at(&name(path), None)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::error("", format!("cannot be read: {error}")).at(&name(path), None)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}
