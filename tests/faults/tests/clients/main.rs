//! The API under faults: a daemon that dies under several clients, many clients at once, and a provider's command that is slow, fails,
//! or outlives nobody.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `API_KILLS_PER_POINT` | kills at each point | 1 |
//! | `API_KILLS_AT_RANDOM` | kills at random | 6 |
//! | `API_KILLS_SEED` | what the clients' choices and the random moments come from; printed | the time |
//! | `API_KILLS_ONLY` | points, with commas between them | all |
//! | `CLIENTS_ROUNDS` | what each of the many clients does | 12 |
//! | `CLIENTS_SEED` | what their choices come from; printed | the process |
#![forbid(unsafe_code)]

mod client;
mod exec;
mod kills;
mod random;
mod stage;
mod together;
