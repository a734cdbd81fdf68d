//! Names: what is reached by them, whatever the sandbox makes of their addresses, and what is not.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use test_world::{Curl, internet, wait_until};

use super::download;
use crate::{
    destination::NAME,
    interrupt,
    screen::{BAD, BOLD, DIM, GOOD, PLAIN},
    table::{Cell, table},
    world::{Explanation, Stage},
};

/// How long `watch` may take to tell a denial.
const LIMIT: Duration = Duration::from_secs(4);

/// A curl, and what has to come of it.
struct Attempt {
    url: &'static str,
    /// Where the sandbox believes the name to be; nothing where there is none.
    believed: Option<IpAddr>,
    meaning: &'static str,
    /// Who answers; nobody where it is denied.
    answers: Option<IpAddr>,
    reason: &'static str,
}

/// A server on the internet that no list allows: the attacker's.
const ATTACKER: IpAddr = IpAddr::V4(internet::CLOUDFLARE);
/// Where nobody is.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 2, 3, 4));
const SERVER: IpAddr = IpAddr::V4(internet::WEB_ELSEWHERE);
const WEB: IpAddr = IpAddr::V4(internet::WEB);

const ATTEMPTS: [Attempt; 8] = [
    Attempt {
        url: "https://api.example.test/",
        believed: Some(NOWHERE),
        meaning: "an allowed name, believed where nobody is",
        answers: Some(SERVER),
        reason: "handed-over",
    },
    Attempt {
        url: "http://files.pypi.org/",
        believed: Some(SERVER),
        meaning: "below a wildcard",
        answers: Some(SERVER),
        reason: "handed-over",
    },
    Attempt {
        url: "https://a.b.pypi.org/",
        believed: Some(SERVER),
        meaning: "at any depth",
        answers: Some(SERVER),
        reason: "handed-over",
    },
    Attempt {
        url: "https://pypi.org/",
        believed: Some(SERVER),
        meaning: "but not the wildcard's own name",
        answers: None,
        reason: "name-denied",
    },
    Attempt {
        url: "http://evil.example.org/",
        believed: Some(SERVER),
        meaning: "another name, at an allowed name's address",
        answers: None,
        reason: "name-denied",
    },
    Attempt {
        url: "https://192.0.2.10/",
        believed: None,
        meaning: "that address without a name",
        answers: None,
        reason: "no-name",
    },
    Attempt {
        url: "https://203.0.113.10/",
        believed: None,
        meaning: "an allowed address: names do not matter",
        answers: Some(WEB),
        reason: "allowed-by-list",
    },
    Attempt {
        url: "https://api.example.test/",
        believed: Some(ATTACKER),
        meaning: "an allowed name forged towards an attacker",
        answers: Some(SERVER),
        reason: "handed-over",
    },
];

/// Tries names, shows what is said of them, and cuts a download by name.
pub(super) fn show(stage: &Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.heading("By name");
    screen.text(
        "A sandbox says whom it wants: in the Host of each HTTP request, in the SNI of the TLS hello. If an entry covers the name,\n\
         the host looks it up and dials what it finds, whatever address the sandbox has chosen.",
    );
    screen.blank();
    stage.excerpt("names.yaml")?;
    screen.blank();
    stage.ctl.show(screen, &["apply", "-f", &stage.example("names.yaml")], 0)?;
    screen.blank();

    let told_before = stage.watch.stdout().len();
    let mut wire = stage.world.host().sniff("up0")?;
    let mut rows = vec![titles()];
    let (mut right, mut agreed) = (0, 0);
    for attempt in &ATTEMPTS {
        interrupt::check()?;
        let (got, why) = (attempt.curl(stage)?, attempt.explain(stage)?);
        let holds = attempt.holds(&got, &why);
        right += usize::from(holds);
        agreed += usize::from(why.allowed == got.is_ok());
        rows.push(attempt.row(&got, &why, holds));
    }
    screen.text(&table(&rows));
    screen.blank();
    let all = ATTEMPTS.len();
    screen.expect(right == all, &format!("{right} of {all} as the policy says: who is dialled is who was named"));
    screen.expect(
        agreed == all,
        &format!("filter-ctl explain agrees with curl on {agreed} of {all}, and resolves nothing"),
    );
    let strayed = wire.count_to(ATTACKER)? + wire.count_to(NOWHERE)?;
    screen.expect(strayed == 0, &format!("{strayed} packets left for the attacker and for where nobody is"));

    screen.blank();
    told(stage, told_before);
    screen.blank();
    let asked = ["explain", "agent", "https://pypi.org/"];
    let explained = stage.ctl.show(screen, &asked, 0)?;
    screen.expect(explained.stdout.contains("name-denied"), "denied by its name, which nobody has resolved");

    screen.blank();
    cut(stage)
}

/// What the operator got to read meanwhile.
fn told(stage: &Stage<'_>, before: usize) {
    let screen = stage.screen;
    screen.command("filter-ctl watch          # meanwhile");
    let news = || stage.watch.stdout().get(before..).unwrap_or_default().to_owned();
    let names = ["pypi.org", "evil.example.org"];
    let is_told = || names.iter().all(|name| news().contains(name));
    let told = screen.progress("waiting for the denials", || wait_until(LIMIT, is_told));
    screen.text(&news());
    screen.expect(told, &format!("denials are told with their names: {}", names.join(", ")));
}

/// A download through the sidecar, and an update that takes its name away.
fn cut(stage: &Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    let url = format!("https://{NAME}/big");
    screen.command(&format!("curl {url} --output big &          # in the sandbox, through the sidecar"));
    let download = stage.agent.download_with(&["--resolve", &format!("{NAME}:443:{NOWHERE}")], &url)?;
    download::begun(stage, &download)?;
    screen.blank();
    screen.text("An update that takes its name away:");
    download::cut(stage, &download)
}

impl Attempt {
    fn curl(&self, stage: &Stage<'_>) -> Result<Curl> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let port = if scheme == "http" { 80 } else { 443 };
        let resolve = self.believed.map(|address| format!("{}:{port}:{address}", rest.trim_end_matches('/')));
        let options = resolve.as_deref().map_or(vec![], |resolve| vec!["--resolve", resolve]);
        stage.agent.curl_with(&options, self.url)
    }

    fn explain(&self, stage: &Stage<'_>) -> Result<Explanation> {
        let at = self.believed.map(|address| format!("--at={address}"));
        stage.explain(&[vec![self.url.to_owned()], at.into_iter().collect()].concat())
    }

    fn holds(&self, got: &Curl, why: &Explanation) -> bool {
        let answered = got.is_ok().then(|| got.body.trim().parse().ok()).flatten();
        answered == self.answers && why.reason_name == self.reason
    }

    fn row(&self, got: &Curl, why: &Explanation, holds: bool) -> Vec<Cell> {
        let at = self.believed.map_or(String::new(), |address| format!("at {address}"));
        let (style, mark) = if got.is_ok() { (GOOD, "✔") } else { (BAD.effects(anstyle::Effects::new()), "✘") };
        let mut row = vec![(PLAIN, "curl".to_owned()), (PLAIN, self.url.to_owned()), (DIM, at)];
        row.push((style, format!("{mark} {}", came(got))));
        row.push((if why.allowed { DIM } else { BOLD }, why.reason_name.clone()));
        row.push((DIM, self.meaning.to_owned()));
        if !holds {
            let expected = self.answers.map_or("a denial".to_owned(), |address| address.to_string());
            row.push((BAD, format!("← expected {expected}, {}", self.reason)));
        }
        row
    }
}

/// What came back, in a few words.
fn came(got: &Curl) -> String {
    match got.failure {
        None if got.is_ok() => got.body.trim().to_owned(),
        None => format!("{} from the filter", got.status),
        Some(test_world::Failure::Tls) => "TLS alert".to_owned(),
        Some(test_world::Failure::Refused) => "refused".to_owned(),
        Some(_) => format!("exit {}", got.exit),
    }
}

fn titles() -> Vec<Cell> {
    ["", "FROM THE AGENT", "BELIEVED", "ANSWERED BY", "REASON", "WHAT IT IS"]
        .map(|text| (DIM, text.to_owned()))
        .to_vec()
}
