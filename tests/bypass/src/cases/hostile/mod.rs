//! A sandbox that wears the filter down first.

mod flood_of_datagrams;
mod flood_of_denials;
mod held_connections;
mod many_addresses;
mod questions_for_many_names;
mod slow_heads;

use crate::case::Case;

pub(super) const CASES: &[Case] = &[
    flood_of_datagrams::CASE,
    flood_of_denials::CASE,
    many_addresses::CASE,
    held_connections::CASE,
    slow_heads::CASE,
    questions_for_many_names::CASE,
];
