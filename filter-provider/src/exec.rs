//! Sandboxes that the operator's command makes.
//!
//! The command gets one JSON object on its standard input and is done when it ends with code 0:
//!
//! ```json
//! {"action": "create", "sandboxID": "…", "templateID": "…", "template": {…}, "request": {…}}
//! {"action": "destroy", "sandboxID": "…", "templateID": "…"}
//! ```
//!
//! `template` is what the configuration says of the template, `request` the call that asks for the sandbox. On `create` it prints one JSON
//! object, a [`Made`]. It should leave the device switched off: the filter comes onto it, and then it is switched on, so that there is
//! no moment without the filter. `destroy` also comes when a `create` has failed, was cut short, or made something that cannot be used,
//! and may come again: a sandbox that is not there is fine. `templateID` is missing in a `destroy` by a later process.
//!
//! A command has a time limit, may print 64 KiB, and has no environment but `PATH`, `HOME` and `LANG`. When it fails its whole process group is
//! killed; when the daemon is killed, the command is. What it leaves running after it was done is left alone; whose output must go elsewhere.

use crate::command::{self, CommandError};
use crate::{Ask, Error, Made, devices};
use filter_dataplane::{Device, DeviceError, Namespace, cgroup, netlink};
use filter_policy::{Attach, document};
use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest time limit, in seconds.
const MAX_SECONDS: u64 = 3600;

/// Moves itself to the cgroup whose processes are listed in the file, and becomes the command.
const MOVED: &str = "echo 0 > \"$0\" && exec \"$@\"";

/// The operator's command.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// How long one call may take: 1 to 3,600.
    #[serde(default = "sixty")]
    pub timeout_seconds: u64,
}

fn sixty() -> u64 {
    60
}

/// Sandboxes that a command makes.
pub struct Exec {
    command: Vec<String>,
    within: Duration,
    host: Namespace,
    /// Where the processes of this one's cgroup are listed, if there are cgroups (v2). The daemon goes into one that marks sockets and ends with it;
    /// commands, and what they leave running, have no part in that.
    members: Option<String>,
    /// The templates of those that this process has made.
    templates: Mutex<HashMap<String, String>>,
}

impl Exec {
    /// Checks that there is such a command.
    ///
    /// # Errors
    /// [`Error::Config`] when there is not.
    pub fn new(config: &Config) -> Result<Exec, Error> {
        let refuse = |reason: String| Error::config("exec.command", reason);
        let program = config.command.first().ok_or_else(|| refuse("is empty".to_owned()))?;
        if !Path::new(program).is_absolute() {
            return Err(refuse(format!("{program:?} is no absolute path")));
        }
        if config.command.iter().any(|word| word.contains('\0')) {
            return Err(refuse("a word holds a NUL".to_owned()));
        }
        access(program.as_str(), AccessFlags::X_OK).map_err(|errno| refuse(format!("{program}: {}", errno.desc())))?;
        if !Path::new(program).is_file() {
            return Err(refuse(format!("{program} is no file")));
        }
        if !(1..=MAX_SECONDS).contains(&config.timeout_seconds) {
            return Err(Error::config("exec.timeoutSeconds", format!("must be from 1 to {MAX_SECONDS}")));
        }
        Ok(Exec {
            command: config.command.clone(),
            within: Duration::from_secs(config.timeout_seconds),
            host: Namespace::here()?,
            members: cgroup::here().ok().map(|here| here.join("cgroup.procs").display().to_string()),
            templates: Mutex::default(),
        })
    }

    pub(crate) fn create(&self, ask: &Ask) -> Result<Made, Error> {
        let question = json!({
            "action": "create",
            "sandboxID": ask.id,
            "templateID": ask.template,
            "template": ask.settings,
            "request": ask.body,
        });
        self.templates().insert(ask.id.clone(), ask.template.clone());
        let (reason, started) = match self.run(&question) {
            Ok(printed) => match read(&ask.id, &printed) {
                Ok(made) => return Ok(made),
                Err(reason) => (reason, true),
            },
            Err(error) => (error.to_string(), !matches!(error, CommandError::Start(_))),
        };
        let undone = if started { self.destroy(&ask.id) } else { Ok(()) };
        self.templates().remove(&ask.id);
        let first = self.failed(&ask.id, "create", reason);
        match undone {
            Ok(()) => Err(first),
            Err(second) => Err(Error::Half { first: Box::new(first), second: Box::new(second) }),
        }
    }

    pub(crate) fn start(&self, id: &str, made: &Made) -> Result<(), Error> {
        let refuse = |reason: String| Error::Device { id: id.to_owned(), reason };
        match made.check(id).map_err(|problems| refuse(problems.to_string()))?.attach {
            Attach::Interface { name, netns: None } => switch_on(&self.host, &name),
            Attach::Interface { name, netns: Some(netns) } => switch_on(&Namespace::find(&netns)?, &name),
            attach @ Attach::Netns(_) => {
                let device = Device::find(&attach)?;
                switch_on(&Namespace::find_or_own(device.netns.as_ref())?, &device.name)
            }
            Attach::Cgroup { .. } => Ok(()),
        }
    }

    pub(crate) fn destroy(&self, id: &str) -> Result<(), Error> {
        let mut question = json!({ "action": "destroy", "sandboxID": id });
        if let Some(template) = self.templates().get(id) {
            question["templateID"] = template.as_str().into();
        }
        self.run(&question).map_err(|error| self.failed(id, "destroy", error.to_string()))?;
        self.templates().remove(id);
        Ok(())
    }

    fn run(&self, question: &Value) -> Result<Vec<u8>, CommandError> {
        let outside = self.members.iter().flat_map(|members| ["/bin/sh", "-c", MOVED, members]);
        let words: Vec<String> = outside.map(str::to_owned).chain(self.command.iter().cloned()).collect();
        command::run(&words, format!("{question}\n").as_bytes(), self.within)
    }

    fn failed(&self, id: &str, action: &'static str, reason: String) -> Error {
        Error::Exec { id: id.to_owned(), action, command: self.command[0].clone(), reason }
    }

    fn templates(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn switch_on(namespace: &Namespace, name: &str) -> Result<(), Error> {
    let missing = || DeviceError::Missing { device: name.to_owned(), namespace: namespace.label().to_owned() };
    let link = netlink::link(namespace, name)?.ok_or_else(|| filter_dataplane::Error::from(missing()))?;
    if !link.up {
        devices::switch_on(namespace, name)?;
    }
    Ok(())
}

/// What a command has printed, if it can be used.
fn read(id: &str, printed: &[u8]) -> Result<Made, String> {
    if printed.trim_ascii().is_empty() {
        return Err("it printed nothing; one JSON object with attach and addresses is wanted".to_owned());
    }
    let made: Made = serde_json::from_slice(printed)
        .map_err(|error| format!("what it printed cannot be used: {}", error.to_string().escape_debug()))?;
    if made.attach == document::Attach::default() {
        return Err("what it printed cannot be used: attach is empty".to_owned());
    }
    made.check(id).map_err(|problems| format!("what it printed cannot be used: {problems}"))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_document_can_hold_is_taken() {
        let made = read("a", br#"{"attach":{"interface":"tap0"},"addresses":["198.51.100.2"]}"#).unwrap();
        assert_eq!(made.attach.interface.as_deref(), Some("tap0"));
        for (printed, complaint) in [
            ("", "nothing"),
            ("  \n", "nothing"),
            ("done", "expected value"),
            (r#"{"attach":{"interface":"tap0"},"addresses":["198.51.100.2"]} {}"#, "trailing"),
            (r#"{"attach":{"interface":"tap0"},"addresses":["198.51.100.2"],"nmae":"x"}"#, "unknown field"),
            (r#"{"attach":{"interface":"tap0"},"addresses":["198.51.100.2"],"network":{}}"#, "unknown field"),
            (r#"{"attach":{},"addresses":["198.51.100.2"]}"#, "attach is empty"),
            (r#"{"addresses":["198.51.100.2"]}"#, "missing field `attach`"),
            (r#"{"attach":{"interface":"tap0"}}"#, "missing field `addresses`"),
            (r#"{"attach":{"interface":"tap0"},"addresses":["nowhere"]}"#, "addresses"),
            (r#"{"attach":{"interface":"tap0"},"addresses":[],"mac":"x"}"#, "mac"),
        ] {
            let error = read("a", printed.as_bytes()).unwrap_err();
            assert!(error.contains(complaint), "{printed}: {error}");
        }
    }
}
