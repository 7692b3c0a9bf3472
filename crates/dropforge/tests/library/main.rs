//! Tests of the library as users see it: tensors, layers, losses, optimizers, steps and their errors.

mod anomalies;
mod calculus;
mod compare;
mod display;
mod dropout;
mod eager;
mod errors;
mod golden;
mod gradients;
mod groups;
mod halves;
mod kinks;
mod layers;
mod limits;
mod losses;
mod metrics;
mod models;
mod norm;
mod optimizers;
mod precision;
mod registry;
mod scan;
mod steps;
mod tasks;
mod tensors;
mod vocabulary;
