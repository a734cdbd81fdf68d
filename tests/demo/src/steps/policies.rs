//! One policy after another: applied by `filter-ctl`, tried by real clients, explained by the daemon.

use anyhow::Result;

use crate::{
    destination::{
        Destination,
        Destination::{Api, Cloudflare, Cloudflare6, Google, Metadata, Neighbour, PingElsewhere, PingNear, Web, Web6},
        Outcome, SILENCE,
    },
    screen::paint,
    table,
    world::{Explanation, Stage},
};

/// A policy of the story, and what has to come of it.
struct Policy {
    title: &'static str,
    says: &'static str,
    file: &'static str,
    /// What is reached under it; everything else is denied.
    reached: &'static [Destination],
    /// Reasons that must be given.
    reasons: &'static [(Destination, &'static str)],
}

const POLICIES: [Policy; 5] = [
    Policy {
        title: "An allow list",
        says: "Deny everything, allow one IPv4 and one IPv6 network. It takes effect between two packets. Clients of what is\n\
               denied fail at once: TCP is refused by a reset, all else prohibited by an ICMP error.",
        file: "allow-list.yaml",
        reached: &[Web, Web6, PingNear],
        reasons: &[(Web, "allowed-by-list"), (Api, "address-denied"), (Cloudflare6, "address-denied")],
    },
    Policy {
        title: "Loosened",
        says: "Two more entries. Nothing else changes.",
        file: "allow-list-wider.yaml",
        reached: &[Web, Api, Web6, Cloudflare, PingNear, PingElsewhere],
        reasons: &[(Api, "allowed-by-list"), (Google, "address-denied")],
    },
    Policy {
        title: "A deny list, and allow beats deny",
        says: "What no list names is allowed. 203.0.113.20 is denied by itself, but its network is allowed: allowed it is.",
        file: "allow-beats-deny.yaml",
        reached: &[Web, Web6, Cloudflare, Google, PingNear],
        reasons: &[(PingNear, "allowed-by-list"), (Google, "allowed-by-default"), (Cloudflare6, "address-denied")],
    },
    Policy {
        title: "Names",
        says: "The address of api.example.test is denied, its name is allowed: the connection is judged by its name, and the\n\
               host dials what the name stands for. Port 53 of the operator's nameserver is open.",
        file: "names.yaml",
        reached: &[Web, Api, Web6, Google, PingNear],
        reasons: &[(Api, "handed-over"), (Google, "allowed-nameserver")],
    },
    Policy {
        title: "Protected, whatever the policy says",
        says: "Everything is allowed, the metadata service and the other sandbox by their very addresses: neither is ever\n\
               reached. The file has two documents: the neighbour gets a policy as well.",
        file: "protected-ranges.yaml",
        reached: &[Web, Api, Web6, Cloudflare, Google, Cloudflare6, PingNear, PingElsewhere],
        reasons: &[(Metadata, "protected-range"), (Neighbour, "protected-sandbox")],
    },
];

/// Shows every policy; each is compared with the one before.
pub(super) fn show(stage: &Stage<'_>, mut before: Vec<Outcome>) -> Result<()> {
    for policy in &POLICIES {
        before = policy.show(stage, &before)?;
    }
    Ok(())
}

impl Policy {
    fn show(&self, stage: &Stage<'_>, before: &[Outcome]) -> Result<Vec<Outcome>> {
        let screen = stage.screen;
        screen.heading(self.title);
        screen.text(self.says);
        screen.blank();
        stage.excerpt(self.file)?;
        screen.blank();
        stage.ctl.show(screen, &["apply", "-f", &stage.example(self.file)], 0)?;
        screen.blank();
        let now = stage.attempt_all()?;
        let why = stage.explain_all()?;
        screen.text(&table::compared(["BEFORE", "NOW"], [before, &now], &why, self.reached));
        screen.blank();
        self.judge(stage, &now, &why);
        Ok(now)
    }

    /// Compares what was seen with what was expected, and what was explained with what was seen.
    fn judge(&self, stage: &Stage<'_>, now: &[Outcome], why: &[Explanation]) {
        let screen = stage.screen;
        let each = || Destination::ALL.into_iter().zip(now.iter().zip(why));
        let right = each().filter(|(to, (outcome, _))| outcome.reached == self.reached.contains(to)).count();
        let reached = now.iter().filter(|outcome| outcome.reached).count();
        let all = now.len();
        let told = if right == all { "as the policy says" } else { "not as the policy says" };
        screen.expect(right == all, &format!("{reached} reached, {} denied, {told}", all - reached));

        let silent = now.iter().filter(|outcome| outcome.text == SILENCE).count();
        screen.expect(silent == 0, "whoever was denied heard so at once");

        let agreed = each().filter(|(_, (outcome, why))| outcome.reached == why.allowed).count();
        let typed = paint(crate::screen::BOLD, "filter-ctl explain");
        screen.expect(agreed == all, &format!("{typed} agrees with curl, dig and ping on {agreed} of {all}"));

        for (destination, expected) in self.reasons {
            let found = each().find(|(to, _)| to == destination).map(|(_, (_, why))| why.reason_name.as_str());
            if found != Some(expected) {
                let (_, argument) = destination.typed();
                screen.expect(false, &format!("{argument}: expected the reason {expected}"));
            }
        }
    }
}
