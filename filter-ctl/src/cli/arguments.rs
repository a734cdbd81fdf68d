//! The arguments: every command, its options and its help.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use filter_policy::SandboxId;

use super::destination::Destination;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused: the request, a document, or what the daemon found in its way
  2  the command line is wrong
  3  no daemon, or it went away
  4  denied (explain --exit-code)";

/// Decide what a sandbox may reach on the network, enforced in the kernel.
#[derive(Debug, Parser)]
#[command(name = "filter-ctl", version, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// The socket that the daemon answers on
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SANDBOX_FILTER_SOCKET",
        hide_env_values = true,
        default_value = "/run/sandbox-filter/api.sock"
    )]
    pub(super) socket: PathBuf,
    /// Print JSON with stable field names; errors too, on standard error
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// When to use colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(super) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create sandboxes or change them, all of the documents or none
    ///
    /// A document that says what is in effect already changes nothing, so applying twice is safe. The command returns when the
    /// kernel has confirmed that no packet is judged by an older policy.
    #[command(after_help = "Example:\n  filter-ctl apply -f agent.yaml --dry-run")]
    Apply {
        #[command(flatten)]
        files: Files,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Show the entries that an update adds and removes
        #[arg(short, long)]
        verbose: bool,
    },
    /// Show what is in effect
    ///
    /// Without ID a line for each sandbox, with it everything about one.
    #[command(
        after_help = "Examples:\n  filter-ctl get agent\n  filter-ctl get agent -o yaml > agent.yaml     to edit and apply"
    )]
    Get {
        /// Id of a sandbox
        #[arg(value_parser = id)]
        id: Option<SandboxId>,
        /// Print documents only, as `apply` reads them; passwords and header values are left out
        #[arg(short, long, value_name = "yaml|json", hide_possible_values = true)]
        output: Option<Format>,
    },
    /// End sandboxes and shut their devices
    ///
    /// Nothing passes a shut device until it vanishes or is detached.
    #[command(after_help = "Example:\n  filter-ctl delete agent")]
    Delete {
        /// Ids of sandboxes
        #[arg(required = true, value_parser = id, value_name = "ID")]
        ids: Vec<SandboxId>,
    },
    /// End sandboxes and leave their devices unfiltered
    #[command(after_help = "Example:\n  filter-ctl detach agent")]
    Detach {
        /// Ids of sandboxes, deleted ones too
        #[arg(required_unless_present = "slots", value_parser = id, value_name = "ID")]
        ids: Vec<SandboxId>,
        /// A slot whose hooks no record knows, as `doctor` lists them
        #[arg(long = "slot", value_name = "SLOT")]
        slots: Vec<u32>,
    },
    /// Check documents without a daemon and without rights
    ///
    /// Whether a device exists and an address is free is for the daemon to say: apply --dry-run.
    #[command(after_help = "Example:\n  filter-ctl check -f policies/")]
    Check {
        #[command(flatten)]
        files: Files,
    },
    /// Show denied packets as they happen, and what the daemon mends
    ///
    /// What is denied several times within a second is one line; what the daemon has mended, marked or found is one as well. With
    /// --json every event is a line of its own,
    /// and `{"missed":N}` stands where N came faster than they were read.
    #[command(after_help = "Example:\n  filter-ctl watch agent")]
    Watch {
        /// Id of a sandbox; all of them without it
        #[arg(value_parser = id)]
        id: Option<SandboxId>,
    },
    /// Show what was denied to a sandbox lately, oldest first
    ///
    /// The daemon keeps the last 256 denials of each sandbox in its memory; like ones within a second count as one. They are gone when the
    /// daemon or the sandbox's attachment ends. What the rate limit held back is counted and not shown.
    #[command(after_help = "Example:\n  filter-ctl denials agent --since 10m")]
    Denials {
        /// Id of a sandbox
        #[arg(value_parser = id)]
        id: SandboxId,
        /// Only those of the last 30s, 10m, 2h, …
        #[arg(long, value_name = "TIME", value_parser = super::denials::duration)]
        since: Option<jiff::SignedDuration>,
    },
    /// Ask whether a new connection of the sandbox would pass, and what decides it
    ///
    /// The program that is attached to the sandbox's device judges a first packet made for the question. Nothing is sent, counted or
    /// told. Answers to connections that came in are not asked about: they pass.
    ///
    /// A name is judged as the sidecar judges it, on TCP ports 80 and 443. It is never resolved: unless --at says where the sandbox
    /// believes it to be, an address that no list names stands for that.
    #[command(
        after_help = "Destinations:\n  203.0.113.9  203.0.113.9:8080  [2001:db8::9]:443  https://203.0.113.9/\n  \
                      tcp:203.0.113.9:22  udp:203.0.113.9:53  icmp:203.0.113.9\n  \
                      api.example.com  api.example.com:80  https://api.example.com/\n\n\
                      Examples:\n  filter-ctl explain agent udp:1.1.1.1:53\n  \
                      filter-ctl explain agent https://api.example.com/ --exit-code"
    )]
    Explain {
        /// Id of the sandbox that sends
        #[arg(value_parser = id)]
        id: SandboxId,
        /// Where to: an address or a name, with a port or a protocol or in a URL
        #[arg(value_name = "DESTINATION")]
        destination: Destination,
        /// Where the sandbox believes the name to be
        #[arg(long, value_name = "ADDRESS")]
        at: Option<IpAddr>,
        /// Exit with 4 when it is denied
        #[arg(long)]
        exit_code: bool,
    },
    /// Say who may use the API over TCP
    ///
    /// A key sees the sandboxes that were created with it, an operator's key all of them. Keys are kept as hashes.
    #[command(after_help = "Examples:\n  filter-ctl key create team-blue\n  filter-ctl key revoke 1f0c9a2b")]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Run the daemon: it alone changes the kernel, the other commands ask it
    ///
    /// Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN. What is enforced goes on when it ends. RUST_LOG sets how much it
    /// tells.
    #[command(after_help = "Example:\n  sudo RUST_LOG=debug filter-ctl daemon")]
    Daemon {
        /// The operator's configuration [default: /etc/sandbox-filter/config.yaml, where there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Where documents are kept
        #[arg(long, value_name = "DIR", default_value = "/var/lib/sandbox-filter")]
        state_dir: PathBuf,
        /// Where kernel objects are pinned, in a BPF file system
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/sandbox-filter")]
        pin_dir: PathBuf,
    },
    /// Run one command in a sandbox of its own, which is gone with it
    ///
    /// A network namespace with addresses, address translation and nameservers; or, with --cgroup, a cgroup on the host's network. Its exit code is
    /// the command's, 128 and the signal's number if one ended it. What was denied is told on standard error, with the entries that would allow it. Where
    /// no daemon runs, one is started for as long as it is needed.
    #[command(
        after_help = "Examples:\n  sudo filter-ctl run --deny-out 0.0.0.0/0 --allow-out pypi.org --allow-out files.pythonhosted.org -- pip download six\n  sudo filter-ctl run --learn -- make test > policy.yaml"
    )]
    Run(super::run::arguments::Run),
    /// Takes a sandbox of `run` away when that has ended
    #[command(hide = true)]
    RunKeep { asked: String },
    /// Becomes the command of `run`
    #[command(hide = true)]
    RunEnter {
        entry: String,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Show the operator's configuration with its defaults, or check one; needs no daemon
    #[command(after_help = "Examples:\n  filter-ctl config print > config.yaml\n  filter-ctl config check config.yaml")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look for what keeps the filter from working, and say what to do
    ///
    /// Run it as root where the daemon runs. Changes nothing.
    #[command(after_help = "Example:\n  sudo filter-ctl doctor")]
    Doctor {
        /// The operator's configuration [default: /etc/sandbox-filter/config.yaml, where there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Remove everything that a daemon has pinned; needs no daemon, and none may be running
    ///
    /// Every device of it is not filtered any more. The documents in the state directory stay.
    #[command(after_help = "Example:\n  sudo filter-ctl purge --dry-run")]
    Purge {
        /// Where kernel objects are pinned
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/sandbox-filter")]
        pin_dir: PathBuf,
        /// List what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  filter-ctl completion bash > /usr/share/bash-completion/completions/filter-ctl"
    )]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true, after_help = "Example:\n  filter-ctl man /usr/share/man/man1")]
    Man {
        /// The directory, which exists
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print a configuration that has every field, with its default and what it is for
    Print,
    /// Check a configuration as the daemon does when it starts
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print it, this once
    Create {
        /// What people call it
        name: String,
        /// A key of the operator: sees every sandbox, and says where new ones are attached
        #[arg(long)]
        operator: bool,
    },
    /// List the keys that there are
    List,
    /// Make a key useless from now on; its sandboxes stay
    Revoke {
        /// Its id, as `list` shows it
        #[arg(value_parser = id)]
        id: SandboxId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// Documents in YAML or JSON: files, directories (their *.yaml, *.yml and *.json), or - for standard input
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE|DIR|-")]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Yaml,
    Json,
}

fn id(text: &str) -> Result<SandboxId, &'static str> {
    SandboxId::parse(text).ok_or("an id has 1 to 32 of the characters a-z and 0-9")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Arguments, ErrorKind> {
        Arguments::try_parse_from(format!("filter-ctl {line}").split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn tree_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }

    #[test]
    fn accepts() {
        for line in [
            "apply -f a.yaml",
            "apply -f a.yaml b.yaml -f dir --dry-run -v",
            "apply --file - --json",
            "--json get",
            "get agent7 -o yaml",
            "get --socket /tmp/s --color never",
            "delete a b c",
            "detach a",
            "detach --slot 7 --slot 8",
            "check -f -",
            "watch",
            "watch a --json",
            "denials a",
            "denials a --since 10m --json",
            "explain a 1.1.1.1 --exit-code",
            "explain a example.com",
            "explain a https://example.com/ --at 2001:db8::9",
            "key create team-blue --operator",
            "key list --json",
            "key revoke 1f0c9a2b",
            "daemon",
            "daemon --config c --state-dir s --pin-dir p --socket x --json",
            "config print",
            "config check a.yaml --json",
            "completion zsh",
            "man /tmp",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn refuses() {
        for (line, kind) in [
            ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("apply", ErrorKind::MissingRequiredArgument),
            ("apply a.yaml", ErrorKind::UnknownArgument),
            ("check -f", ErrorKind::InvalidValue),
            ("get Agent", ErrorKind::ValueValidation),
            ("get ../a", ErrorKind::ValueValidation),
            ("get a b", ErrorKind::UnknownArgument),
            ("get -o toml", ErrorKind::InvalidValue),
            ("delete", ErrorKind::MissingRequiredArgument),
            ("denials", ErrorKind::MissingRequiredArgument),
            ("denials a --since soon", ErrorKind::ValueValidation),
            ("explain a", ErrorKind::MissingRequiredArgument),
            ("explain a example.com:22", ErrorKind::ValueValidation),
            ("explain a example.com --at example.org", ErrorKind::ValueValidation),
            ("key", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("key revoke ../a", ErrorKind::ValueValidation),
            ("config check", ErrorKind::MissingRequiredArgument),
            ("completion csh", ErrorKind::InvalidValue),
            ("frobnicate", ErrorKind::InvalidSubcommand),
            ("get --color sometimes", ErrorKind::InvalidValue),
        ] {
            assert_eq!(parse(line).err(), Some(kind), "{line}");
        }
    }
}
