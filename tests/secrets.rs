//! Secrets, tokens, bodies and personal data are said nowhere: in no log line however much is logged, no refusal, no
//! number, no error of a command. The program itself runs, is treated well and badly, and all that it said is searched.

mod commands;
mod compare;
mod faults;
mod life;
mod needles;
mod world;
