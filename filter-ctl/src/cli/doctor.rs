//! `doctor`: looks for what keeps the filter from working. Changes nothing.

use std::{fs, path::PathBuf, process::Command, process::ExitCode};

use filter_dataplane::{Device, HookKind, probe};
use filter_policy::validate;
use serde::Serialize;

use super::{
    client::Client,
    error::{Failure, exit},
    output::{self, BAD, Cell, GOOD, Output, PLAIN, WARN},
    start,
};
use crate::api::{Orphan, SandboxStatus, SidecarStatus, State};
use crate::daemon::{
    config::{self, Config},
    marks,
};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    health: Health,
    /// What was looked at.
    what: String,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Good,
    Warning,
    Bad,
}

pub(super) async fn run(client: &Client, output: &mut Output, config: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let config = config::read(config.as_deref().unwrap_or(start::DEFAULT_CONFIG.as_ref()), config.is_some());
    let mut findings = needs(config.as_ref().ok().and_then(|config| config.hook.chosen()));
    findings.extend(probe::untested_kernel().map(|release| {
        let found = format!("is {release}: the filter is tested on {}", probe::TESTED.join(", "));
        warning("kernel", found, "what it lacks is told here; tell its maintainers what does not work")
    }));
    findings.push(match &config {
        Ok(_) => good("configuration", "is understood"),
        Err(error) => bad("configuration", format!("{error:#}"), "mend it: the daemon does not start with it"),
    });
    let names = probe::names();
    findings.push(if names.met {
        good(names.what, "are there")
    } else {
        warning(names.what, "are missing", names.hint)
    });
    findings.extend(sysctls());
    let config = config.unwrap_or_default();
    findings.extend(marks(&config));
    findings.extend(firewall());
    match client.get::<Vec<SandboxStatus>>("/v1/sandboxes").await {
        Ok(sandboxes) => {
            findings.push(good("daemon", format!("answers, sandboxes: {}", sandboxes.len())));
            findings.extend(sandboxes.iter().flat_map(|status| sandbox(&config, status)));
            let health = client.get::<crate::api::Health>("/v1/health").await?;
            findings.extend(health.orphans.iter().map(orphan));
            findings.extend(health.sidecar.as_ref().map(sidecar));
        }
        Err(failure) => {
            findings.push(bad(
                "daemon",
                failure.to_string(),
                "sudo systemctl start sandbox-filter, or sudo filter-ctl daemon",
            ));
        }
    }
    if output.json {
        output.json(&findings)?;
    } else {
        output.text(&lines(&findings))?;
    }
    let ill = findings.iter().any(|finding| finding.health == Health::Bad);
    Ok(ExitCode::from(if ill { exit::REFUSED } else { exit::DONE }))
}

fn needs(hook: Option<HookKind>) -> Vec<Finding> {
    let found = |need: probe::Need| {
        if need.met { good(need.what, "is there") } else { bad(need.what, "is missing", need.hint) }
    };
    probe::needs(hook).into_iter().map(found).collect()
}

fn sysctls() -> Vec<Finding> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned());
    let mut findings = Vec::new();
    for (name, family) in [("net/ipv4/ip_forward", "IPv4"), ("net/ipv6/conf/all/forwarding", "IPv6")] {
        if read(name).as_deref() == Some("0") {
            let advice = format!("if sandboxes are routed: sysctl -w {}=1", name.replace('/', "."));
            findings.push(warning(name, format!("0: this host forwards no {family}"), advice));
        }
    }
    if read("net/bridge/bridge-nf-call-iptables").as_deref() == Some("1") {
        let found = "1: iptables sees bridged packets";
        findings.push(warning(
            "net/bridge/bridge-nf-call-iptables",
            found,
            "for sandboxes on bridge ports: expect its rules to apply too",
        ));
    }
    if read("net/ipv4/conf/all/rp_filter").as_deref() == Some("1") {
        let found = "1: packets are dropped whose way back is another one";
        findings.push(warning(
            "net/ipv4/conf/all/rp_filter",
            found,
            "2 (loose) if sandboxes or uplinks are routed asymmetrically",
        ));
    }
    if read("net/ipv4/tcp_fwmark_accept").as_deref() == Some("1") {
        let found = "1: accepted connections take over the mark of their packets";
        findings.push(warning("net/ipv4/tcp_fwmark_accept", found, "0, unless something else on the host needs it"));
    }
    if findings.is_empty() {
        findings.push(good("sysctls", "nothing stands in the way"));
    }
    findings
}

fn marks(config: &Config) -> Vec<Finding> {
    let what = format!("marks, mask {:#x}", config.marks.mask);
    let advice = "choose other bits in the operator's configuration (marks)";
    match marks::collisions(config.marks) {
        Ok(found) if found.is_empty() => vec![good(what, "nobody else is known to use them")],
        Ok(found) => found.into_iter().map(|found| warning(&what, found, advice)).collect(),
        Err(error) => vec![warning(what, error.to_string(), "run it as root where the daemon runs")],
    }
}

/// Input chains of nftables that drop by default. They do not concern what is forwarded, but what is captured on the host.
fn firewall() -> Vec<Finding> {
    let Ok(listed) = Command::new("nft").args(["-j", "list", "chains"]).output() else {
        return Vec::new();
    };
    let chains: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let chains = chains["nftables"].as_array().cloned().unwrap_or_default();
    let drops = |entry: &serde_json::Value| {
        let chain = &entry["chain"];
        (chain["hook"] == "input" && chain["policy"] == "drop").then(|| format!("{} {}", chain["table"], chain["name"]))
    };
    let advice =
        "let packets from the sandboxes' devices in where the host serves them (DHCP, a resolver, the sidecar)";
    chains
        .iter()
        .filter_map(drops)
        .map(|name| warning("firewall", format!("chain {name} drops input by default"), advice))
        .collect()
}

fn sandbox(config: &Config, status: &SandboxStatus) -> Vec<Finding> {
    let what = format!("sandbox {}", status.id);
    let mut findings = Vec::new();
    match status.state {
        State::Detached => findings.push(warning(
            &what,
            format!("its device {} is gone", status.device),
            "apply its document again, or delete it",
        )),
        State::Sealed => {
            let advice = format!("filter-ctl detach {} opens the device", status.id);
            findings.push(warning(&what, format!("deleted; its device {} is sealed", status.device), advice));
        }
        State::Active => findings.extend(programs_ahead(&what, config, status)),
    }
    if !status.denied_resolvers.is_empty() {
        let resolvers: Vec<String> = status.denied_resolvers.iter().map(ToString::to_string).collect();
        let advice =
            "list them as nameservers in the operator's configuration, or allow them, if it is meant to resolve names";
        findings.push(warning(&what, format!("asks a resolver that is denied: {}", resolvers.join(", ")), advice));
    }
    if status.counters.events_lost > 0 {
        findings.push(warning(
            &what,
            format!("{} deny events were lost", status.counters.events_lost),
            "lower events.perSecond",
        ));
    }
    if findings.is_empty() {
        findings.push(good(what, format!("enforced on {} ({})", status.device, status.hook)));
    }
    findings
}

/// Programs and filters that see packets before the filter's own does: they can let them pass unseen.
fn programs_ahead(what: &str, config: &Config, status: &SandboxStatus) -> Vec<Finding> {
    let sandbox = validate(&status.document, None, &config.operator.limits).ok();
    let device = sandbox.and_then(|sandbox| Device::find(&sandbox.attach).ok());
    let orders = device.and_then(|device| probe::programs_at(&device).ok()).unwrap_or_default();
    let told = |order: &probe::Order| {
        let ahead = order.ahead();
        (!ahead.is_empty()).then(|| {
            let found = format!("before {} on {} runs {}", order.hook, status.device, ahead.join(", "));
            warning(what, found, "detach that and attach it again: the filter must come first")
        })
    };
    orders.iter().filter_map(told).collect()
}

/// Hooks that no record knows.
fn orphan(Orphan { slot, device }: &Orphan) -> Finding {
    let found = format!("hooks on {device} enforce a policy that no record knows");
    warning(format!("slot {slot}"), found, format!("bring the device down, then filter-ctl detach --slot {slot}"))
}

/// The process that judges connections by names.
fn sidecar(SidecarStatus { pid, restarts, sandboxes, last_end }: &SidecarStatus) -> Finding {
    let last = last_end.as_deref().unwrap_or_default();
    match pid {
        None => {
            let found = format!("does not run, connections for names are refused: {last}");
            bad("sidecar", found, "read the daemon's log; it is started again by itself")
        }
        Some(pid) if *restarts > 0 => {
            let found =
                format!("runs (pid {pid}, sandboxes: {sandboxes}), after restarts: {restarts}; the last one: {last}");
            warning("sidecar", found, "read the daemon's log: connections that it carried have ended with it")
        }
        Some(pid) => good("sidecar", format!("runs (pid {pid}, sandboxes: {sandboxes})")),
    }
}

fn good(what: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { health: Health::Good, what: what.into(), found: found.into(), advice: None }
}

fn warning(what: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { health: Health::Warning, advice: Some(advice.into()), ..good(what, found) }
}

fn bad(what: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { health: Health::Bad, advice: Some(advice.into()), ..good(what, found) }
}

fn lines(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        let (style, sign) = match finding.health {
            Health::Good => (GOOD, "✔"),
            Health::Warning => (WARN, "!"),
            Health::Bad => (BAD, "✘"),
        };
        vec![Cell::new(style, sign), Cell::new(PLAIN, &finding.what), Cell::new(PLAIN, &finding.found)]
    };
    let table = output::table(&findings.iter().map(row).collect::<Vec<_>>(), 2);
    let advice = |(line, finding): (&str, &Finding)| match &finding.advice {
        Some(advice) => format!("{line}\n     {advice}\n"),
        None => format!("{line}\n"),
    };
    table.lines().zip(findings).map(advice).collect()
}
