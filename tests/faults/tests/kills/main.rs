//! A daemon may die anywhere. It is killed with SIGKILL at every fail point and at random, under a flood of denied packets and with
//! an allowed flow, on a device with TCX links and on one with clsact filters. Nothing denied passes, the flow lives, what was acknowledged holds, and nothing is left behind.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `KILLS_PER_POINT` | kills at each point | 1 |
//! | `KILLS_AT_RANDOM` | kills at random | 6 |
//! | `KILLS_SEED` | what the random moments come from; printed | the time |
//! | `KILLS_ONLY` | operations, with commas between them | all |
#![forbid(unsafe_code)]

mod flood;
mod flow;
mod kill;
mod random;
mod report;
mod stage;

use anyhow::{Context, Result, ensure};
use kill::{Operation, POINTS};
use random::Random;
use report::Report;
use stage::Stage;
use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use test_faults::leaks::{KernelMemory, open_files, resident};
use test_faults::{FAIL_POINT, OF_THE_API, with_fail_points};

/// Denied packets a second that reach the filter of one sandbox, at least.
const RATE: f64 = 10_000.0;

/// A kill that is to be done.
enum Task {
    Point(&'static str, Operation, usize),
    Random(u64),
}

#[test]
fn a_daemon_may_die_anywhere() -> Result<()> {
    let tasks = tasks()?.map(Mutex::new);
    let memory = KernelMemory::read()?;
    let mut stages = [Stage::new("killstcx", "tcx")?, Stage::new("killscls", "clsact")?];
    stages.iter_mut().try_for_each(Stage::first_life)?;
    stages.iter_mut().try_for_each(Stage::remember)?;
    stages.iter_mut().try_for_each(Stage::begin)?;
    let mut report = Report::default();
    let reports = thread::scope(|scope| {
        let tasks = &tasks;
        let work: Vec<_> = stages
            .iter_mut()
            .enumerate()
            .map(|(index, stage)| scope.spawn(move || work(stage, tasks, index)))
            .collect();
        work.into_iter().map(|stage| stage.join().expect("no panic in a stage")).collect::<Vec<_>>()
    });
    for done in reports {
        report.merge(done?)?;
    }
    report.print();
    println!("{} kills, {} denied packets sent", report.hits(), report.denied());
    stages.iter_mut().try_for_each(Stage::end)?;
    stages.iter().try_for_each(Stage::is_idle)?;
    stages.iter().try_for_each(Stage::purge)?;
    stages.iter().try_for_each(Stage::is_nothing)?;
    let after = KernelMemory::read()?;
    println!("memory of the kernel, KiB: {memory:?} before, {after:?} after");
    Ok(())
}

#[test]
fn every_fail_point_is_killed_at() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut points = Vec::new();
    for source in ["filter-dataplane/src", "filter-ctl/src"] {
        collect(&root.join(source), &mut points)?;
    }
    ensure!(points.len() > 20, "{points:?}");
    for point in points {
        let parts: Vec<&str> = point.split(['{', '}']).collect();
        let (first, last) = (parts[0], parts[parts.len() - 1]);
        let is_it = |name: &str| name.starts_with(first) && name.ends_with(last);
        let names = POINTS.iter().map(|(name, _)| name).chain(OF_THE_API);
        ensure!(names.into_iter().any(|name| is_it(name)), "nothing leads to {point}");
    }
    Ok(())
}

#[test]
fn an_ordinary_build_has_no_fail_points() -> Result<()> {
    let faults = with_fail_points()?;
    let ordinary = faults.ancestors().nth(3).context("it lies below the target directory")?.join("debug/filter-ctl");
    let has_them = |path: &Path| -> Result<bool> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(bytes.windows(FAIL_POINT.len()).any(|window| window == FAIL_POINT.as_bytes()))
    };
    ensure!(has_them(&faults)? && !has_them(&ordinary)?);
    Ok(())
}

/// What is to be done on each of the two stages: every point once on either before it is once more on any.
fn tasks() -> Result<[VecDeque<Task>; 2]> {
    let number = |name: &str, default: u64| match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let seed = number("KILLS_SEED", now)?;
    println!("KILLS_SEED={seed}");
    let only = env::var("KILLS_ONLY").unwrap_or_default();
    let is_wanted = |operation: &Operation| {
        only.is_empty() || only.split(',').any(|name| name.eq_ignore_ascii_case(&format!("{operation:?}")))
    };
    let rounds = usize::try_from(number("KILLS_PER_POINT", 1)?)?;
    let points = POINTS.iter().filter(|(_, operation)| is_wanted(operation)).enumerate();
    let mut tasks = [VecDeque::new(), VecDeque::new()];
    for (index, (point, operation)) in points {
        for round in 0..rounds {
            // A stage meets another variant of the round each time.
            tasks[(index + round) % 2].push_back(Task::Point(point, *operation, index / 2 + round / 2));
        }
    }
    let mut random = Random(seed);
    for index in 0..number("KILLS_AT_RANDOM", 6)? {
        tasks[(index % 2) as usize].push_back(Task::Random(random.below(u64::MAX)));
    }
    Ok(tasks)
}

/// Does what is to be done until nothing is.
fn work(stage: &mut Stage, tasks: &[Mutex<VecDeque<Task>>; 2], index: usize) -> Result<Report> {
    let mut report = Report::default();
    let (started, denied) = (Instant::now(), stage.daemon.status("a")?.counters.denied);
    let pid = stage.daemon.pid().context("it runs")?;
    let (files, memory) = (open_files(pid)?, resident(pid)?);
    loop {
        let task = tasks[index].lock().expect("no panic under the lock").pop_front();
        let row = match task {
            None => break,
            Some(Task::Point(point, operation, round)) => stage.kill(point, operation, round),
            Some(Task::Random(seed)) => {
                stage.kill_at_random(&mut Random(seed)).with_context(|| format!("at random, from {seed}"))
            }
        };
        let added = row.and_then(|row| report.add(row));
        if added.is_err() {
            println!("{}", stage.daemon.log());
            // The other stage need not go on.
            tasks[1 - index].lock().expect("no panic under the lock").clear();
        }
        added?;
    }
    let rate = (stage.daemon.status("a")?.counters.denied - denied) as f64 / started.elapsed().as_secs_f64();
    println!("{}: {rate:.0} denied packets/s at {}", stage.hook, stage.a.device);
    ensure!(rate >= RATE, "the flood was too thin: {rate:.0} denied packets/s");
    let pid = stage.daemon.pid().context("it runs")?;
    println!(
        "{}: {files} files and {memory} KiB at first, {} and {} KiB now",
        stage.hook,
        open_files(pid)?,
        resident(pid)?
    );
    Ok(report)
}

/// The names of all fail points below a directory, as they are written.
fn collect(directory: &Path, points: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, points)?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for call in text.split("fail_point(").skip(1) {
            if let Some(name) = call.trim_start_matches("format_args!(").strip_prefix('"') {
                points.push(name.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
    Ok(())
}
