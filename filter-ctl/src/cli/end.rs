//! `delete` and `detach`: the end of sandboxes.

use std::process::ExitCode;

use filter_policy::SandboxId;

use super::{
    client::Client,
    error::Failure,
    output::{self, Cell, GOOD, Output, PLAIN, WARN},
};
use crate::api::{EndState, Ended};

pub(super) async fn delete(client: &Client, output: &mut Output, ids: &[SandboxId]) -> Result<ExitCode, Failure> {
    each(output, ids, async |id| client.delete(&format!("/v1/sandboxes/{id}")).await).await
}

pub(super) async fn detach(
    client: &Client,
    output: &mut Output,
    ids: &[SandboxId],
    slots: &[u32],
) -> Result<ExitCode, Failure> {
    let ids = ids.iter().map(|id| format!("/v1/sandboxes/{id}/detach"));
    let paths: Vec<String> = ids.chain(slots.iter().map(|slot| format!("/v1/slots/{slot}/detach"))).collect();
    each(output, &paths, async |path| client.post(path, &()).await).await
}

/// Ends one sandbox after the other. A refusal of one does not keep the others; nothing else is survived.
async fn each<T>(
    output: &mut Output,
    ids: &[T],
    end: impl AsyncFn(&T) -> Result<Ended, Failure>,
) -> Result<ExitCode, Failure> {
    let (mut ended, mut refused, mut fatal) = (Vec::new(), ExitCode::SUCCESS, None);
    for id in ids {
        match end(id).await {
            Ok(one) => ended.push(one),
            Err(failure @ Failure::Refused { .. }) => {
                output.failure(&failure);
                refused = failure.code();
            }
            Err(failure) => {
                fatal = Some(failure);
                break;
            }
        }
    }
    if output.json {
        output.json(&ended)?;
    } else {
        output.text(&lines(&ended))?;
    }
    fatal.map_or(Ok(refused), Err)
}

fn lines(ended: &[Ended]) -> String {
    output::table(&ended.iter().map(row).collect::<Vec<_>>(), 3)
}

fn row(ended: &Ended) -> Vec<Cell> {
    let (style, state, consequence) = match ended.state {
        EndState::Sealed => {
            let open = format!("nothing passes until the device vanishes, or: filter-ctl detach {}", ended.id);
            (PLAIN, "sealed", open)
        }
        EndState::Detached => (WARN, "detached", "the device is not filtered any more".to_owned()),
        EndState::Gone => (PLAIN, "removed", "the device had vanished already".to_owned()),
    };
    vec![
        Cell::new(GOOD, &format!("✔ {}", ended.id)),
        Cell::new(PLAIN, state),
        Cell::new(PLAIN, &ended.device),
        Cell::new(style, &consequence),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_becomes_of_the_device() {
        let ended = |id: &str, device: &str, state| Ended { id: id.to_owned(), device: device.to_owned(), state };
        let all = [
            ended("agent", "veth7", EndState::Sealed),
            ended("ci42", "veth8@web", EndState::Detached),
            ended("old", "veth9", EndState::Gone),
        ];
        assert_eq!(
            anstream::adapter::strip_str(&lines(&all)).to_string(),
            "\
✔ agent   sealed     veth7       nothing passes until the device vanishes, or: filter-ctl detach agent
✔ ci42    detached   veth8@web   the device is not filtered any more
✔ old     removed    veth9       the device had vanished already
"
        );
        assert_eq!(serde_json::to_string(&all[1]).unwrap(), r#"{"id":"ci42","device":"veth8@web","state":"detached"}"#);
    }
}
