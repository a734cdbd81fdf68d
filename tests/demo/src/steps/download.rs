//! Updates under a running download: one that does not concern it, one that cuts it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use test_world::{Download, Live, wait_until};

use crate::{interrupt, world::Stage};

const URL: &str = "http://203.0.113.10/big";

/// What must have arrived before anything is done.
const ENOUGH: u64 = 100_000;

/// A download without a byte for this long has stopped.
const QUIET: Duration = Duration::from_millis(800);

/// How long a cut download may go on: curl writes what it had received already.
const LIMIT: Duration = Duration::from_secs(2);

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(1);

/// A download as seen from an update on.
struct Seen {
    /// Bytes when the command was started, when it had returned, and at the end.
    bytes: [u64; 3],
    /// Longest time without a byte.
    pause: Duration,
    /// From the command's return until the last byte; zero when that was earlier.
    last: Duration,
}

/// Starts a download, applies two updates, and tells what each did to it.
pub(super) fn show(stage: &Stage<'_>) -> Result<()> {
    let screen = stage.screen;
    screen.heading("Updates under a running download");
    stage.ctl.show(screen, &["apply", "-f", &stage.example("allow-list.yaml")], 0)?;
    screen.command(&format!("curl {URL} --output big &          # in the sandbox"));
    let download = stage.agent.download(URL)?;
    begun(stage, &download)?;

    screen.blank();
    screen.text("An update that does not concern it:");
    let seen = watched(stage, &download, "allow-list-wider.yaml", Until::Received(ENOUGH))?;
    screen.text(&seen.told());
    let goes_on = seen.bytes[2] > seen.bytes[1] + ENOUGH && seen.pause < QUIET;
    screen.expect(goes_on, &format!("it goes on; its longest pause was {} ms", seen.pause.as_millis()));

    screen.blank();
    screen.text("An update that takes its destination away:");
    cut(stage, &download)
}

/// Waits until a download is well under way.
pub(super) fn begun(stage: &Stage<'_>, download: &Download) -> Result<()> {
    let begun = || wait_until(Duration::from_secs(10), || download.progress() > ENOUGH);
    ensure!(stage.screen.progress("downloading", begun), "the download does not start");
    Ok(())
}

/// Takes everything away from a download, which must stop at once.
pub(super) fn cut(stage: &Stage<'_>, download: &Download) -> Result<()> {
    let screen = stage.screen;
    stage.excerpt("no-internet.yaml")?;
    let seen = watched(stage, download, "no-internet.yaml", Until::Quiet)?;
    screen.text(&seen.told());
    let stopped = seen.pause >= QUIET && seen.last < LIMIT;
    screen.expect(
        stopped,
        &match stopped {
            true => format!(
                "cut: the last byte came {} ms after the command had returned; what the server still sends stays outside",
                seen.last.as_millis()
            ),
            false => format!("not cut: the longest pause was {} ms", seen.pause.as_millis()),
        },
    );
    Ok(())
}

/// When enough was seen.
#[derive(Clone, Copy)]
enum Until {
    /// This many bytes came after the update.
    Received(u64),
    /// No byte came for [`QUIET`].
    Quiet,
}

/// Applies an example and watches the download meanwhile and afterwards.
fn watched(stage: &Stage<'_>, download: &Download, file: &str, until: Until) -> Result<Seen> {
    interrupt::check()?;
    let end = AtomicBool::new(false);
    let path = stage.example(file);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(download, &end));
        let before = download.progress();
        let applied = stage.ctl.show(stage.screen, &["apply", "-f", &path], 0);
        let (returned, at_return) = (Instant::now(), download.progress());
        stage.screen.progress("watching the download", || match until {
            Until::Received(bytes) => wait_until(LIMIT, || download.progress() > at_return + bytes),
            Until::Quiet => download.stops(QUIET, LIMIT + QUIET),
        });
        end.store(true, Ordering::Relaxed);
        let (last, pause) = sampler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        applied?;
        let bytes = [before, at_return, download.progress()];
        Ok(Seen { bytes, pause, last: last.saturating_duration_since(returned) })
    })
}

/// When the last byte came, and the longest time without one.
fn sample(download: &Download, end: &AtomicBool) -> (Instant, Duration) {
    let (mut bytes, mut last, mut pause) = (download.progress(), Instant::now(), Duration::ZERO);
    while !end.load(Ordering::Relaxed) {
        thread::sleep(TICK);
        let now = download.progress();
        pause = pause.max(last.elapsed());
        if now != bytes {
            (bytes, last) = (now, Instant::now());
        }
    }
    (last, pause)
}

impl Seen {
    fn told(&self) -> String {
        let [before, at_return, end] = self.bytes.map(|bytes| format!("{} kB", bytes / 1_000));
        format!("received: {before} before the command, {at_return} when it returned, {end} in the end")
    }
}
