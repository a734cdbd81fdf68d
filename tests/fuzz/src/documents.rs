//! Documents: read, checked, compiled.

use filter_core::{Address, Reason};
use filter_policy::explain::origin;
use filter_policy::{Limits, Operator, compile, diff, parse, validate, warnings};

/// The bytes as a file of documents.
pub fn documents(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(parsed) = parse(text, "a.yaml") else { return };
    let (limits, operator) = (Limits::default(), Operator::default());
    for one in parsed {
        let again = serde_json::to_string(&one).expect("documents have a JSON form");
        assert_eq!(serde_json::from_str::<filter_policy::Parsed>(&again).expect("it is one"), one);
        let Ok(sandbox) = validate(&one.document, Some(&one.lines), &limits) else { continue };
        assert!(warnings(&sandbox, Some(&one.lines)).iter().all(|problem| !problem.to_string().is_empty()));
        assert!(diff(&sandbox.policy, &sandbox.policy).is_empty());
        let policy = &sandbox.policy;
        let compiled = compile(policy, &operator, 1);
        for entry in policy.allow.iter().chain(&policy.deny) {
            for edge in [entry.value.network(), entry.value.broadcast()] {
                let address = Address::from(edge);
                let reason = Reason::from_number(compiled.lookup(&address).reason).expect("a reason");
                let origin = origin(policy, &operator, &address);
                assert_eq!(reason.allows(), origin.decided.allows(), "{edge}: {origin:?}");
            }
        }
    }
}
