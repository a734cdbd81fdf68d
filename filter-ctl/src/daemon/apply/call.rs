//! What the daemon is asked to make true.

use super::check::{self, Obstacle};
use super::claims::Claims;
use super::network::{self, NetworkUpdate};
use super::{Checked, Plan};
use crate::api::{ApplyDocument, ApplyRequest};
use crate::daemon::node::Node;
use crate::daemon::origin::{Caller, Origin};
use crate::daemon::refusal::Refusal;
use filter_policy::Document;
use std::collections::BTreeSet;

/// One call, carried out as a whole or not at all.
pub(in crate::daemon) enum Call {
    /// Documents of the operator.
    Documents(ApplyRequest),
    /// A sandbox that was asked for by the API.
    Create {
        /// What is to be.
        document: Box<Document>,
        /// Where it comes from.
        origin: Box<Origin>,
    },
    /// Another network configuration of a sandbox that there is.
    Network {
        /// Its id.
        id: String,
        /// Who asks.
        caller: Caller,
        /// What is to be.
        update: NetworkUpdate,
        /// The whole document, once it is known.
        document: Option<Box<ApplyDocument>>,
    },
}

impl Call {
    /// Checks all of it, beside the claims of `others`; `followed` takes the namespaces that its devices are in.
    pub(super) fn check(
        &mut self,
        node: &mut Node,
        others: &Claims,
        followed: &mut BTreeSet<u64>,
    ) -> Result<Vec<Checked>, Obstacle> {
        match self {
            Call::Documents(request) => check_all(node, &request.documents, others, followed),
            Call::Create { document, .. } => {
                if node.sandboxes.contains_key(&document.id) {
                    let message = format!("sandbox \"{}\" is there already", document.id);
                    return Err(Refusal::Conflict { message, hint: None }.into());
                }
                let given = ApplyDocument { document: (**document).clone(), lines: None };
                check_all(node, &[given], others, followed)
            }
            Call::Network { id, caller, update, document } => {
                let (given, checked) = network::check(node, id, caller, update, others)?;
                *document = Some(Box::new(given));
                Ok(vec![checked])
            }
        }
    }

    /// Whether only what would be done is asked for.
    pub(super) fn is_dry_run(&self) -> bool {
        matches!(self, Call::Documents(request) if request.dry_run)
    }

    /// What is to be done, document by document, after they were checked.
    pub(super) fn plans(self, checked: Vec<Checked>) -> Vec<Plan> {
        let (documents, origin) = match self {
            Call::Documents(request) => (request.documents, None),
            Call::Create { document, origin } => {
                (vec![ApplyDocument { document: *document, lines: None }], Some(*origin))
            }
            Call::Network { document, .. } => (document.into_iter().map(|given| *given).collect(), None),
        };
        let plan = |(given, Checked { sandbox, device, before }): (ApplyDocument, Checked)| {
            let origin = origin.clone().or_else(|| before.as_ref()?.record.origin.clone());
            Plan { given, sandbox, device, before, origin }
        };
        documents.into_iter().zip(checked).map(plan).collect()
    }
}

/// Checks all documents of a call.
fn check_all(
    node: &mut Node,
    documents: &[ApplyDocument],
    others: &Claims,
    followed: &mut BTreeSet<u64>,
) -> Result<Vec<Checked>, Obstacle> {
    if documents.is_empty() {
        return Err(Refusal::Request { message: "no documents".to_owned(), hint: None }.into());
    }
    let (mut problems, mut claims, mut checked) = (Vec::new(), Claims::default(), Vec::new());
    for given in documents {
        match check::check(node, given, &claims, others, followed) {
            Ok(one) => {
                claims.add(&one.sandbox, &one.device);
                checked.push(one);
            }
            Err(Obstacle::Refused(Refusal::Documents(found))) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(Refusal::Documents(problems).into()) }
}
