//! Every attack in every mode is a test of its own name: `tc::mapped-tcp`.
//!
//! With `BYPASS_COMPARE` set, nftables is tried as well; with `BYPASS_ROWS`, each case is told on standard output for the table. The program is the
//! attacker as well, by the word `attack`.

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Serialize;
use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use test_bypass::{Arena, Mode, cases};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [first, rest @ ..] = words.as_slice()
        && first == "attack"
    {
        return match test_bypass::attack(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut arguments = Arguments::from_args();
    // One witness sees one attempt at a time.
    arguments.test_threads = Some(1);
    let arena = if arguments.list { None } else { Some(Arena::new(env::var_os("BYPASS_COMPARE").is_some())) };
    let arena = match arena.transpose() {
        Ok(arena) => Arc::new(Mutex::new(arena)),
        Err(error) => {
            eprintln!("error: the world cannot be made: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let rows = Arc::new(Mutex::new(Vec::new()));
    let conclusion = libtest_mimic::run(&arguments, trials(&arena, &rows));
    drop(arena);
    if env::var_os("BYPASS_ROWS").is_some() {
        rows.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|row| println!("{}{row}", test_bypass::ROW));
    }
    conclusion.exit_code()
}

/// Rows of the table, in JSON.
type Rows = Arc<Mutex<Vec<String>>>;

fn trials(arena: &Arc<Mutex<Option<Arena>>>, rows: &Rows) -> Vec<Trial> {
    let measured = rows.clone();
    let mut trials = vec![Trial::test("programs::are-within-their-budgets", move || {
        let budgets = test_bypass::budgets().map_err(|error| format!("{error:#}"))?;
        budgets.iter().try_for_each(|budget| tell(&measured, budget))?;
        budgets.iter().try_for_each(|budget| budget.check().map_err(|error| format!("{error:#}").into()))
    })];
    for mode in Mode::ALL {
        let within = arena.clone();
        let control = move || with(&within, |arena| arena.control(mode));
        trials.push(Trial::test(format!("{}::what-is-allowed-gets-through", mode.name()), control));
        for (class, case) in cases::all().filter(|(_, case)| mode.has(case.rights)) {
            let (within, rows) = (arena.clone(), rows.clone());
            let judge = move || {
                let row = with(&within, |arena| arena.judge(case, class, mode))?;
                tell(&rows, &row)
            };
            trials.push(Trial::test(format!("{}::{}", mode.name(), case.name), judge));
        }
    }
    trials
}

fn tell(rows: &Rows, row: &impl Serialize) -> Result<(), Failed> {
    rows.lock().unwrap_or_else(PoisonError::into_inner).push(serde_json::to_string(row)?);
    Ok(())
}

fn with<T>(arena: &Mutex<Option<Arena>>, work: impl FnOnce(&mut Arena) -> anyhow::Result<T>) -> Result<T, Failed> {
    let mut arena = arena.lock().unwrap_or_else(PoisonError::into_inner);
    let arena = arena.as_mut().ok_or("no arena")?;
    work(arena).map_err(|error| format!("{error:#}").into())
}
