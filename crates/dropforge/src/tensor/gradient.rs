//! Gradients of tensors: which want one, and how they get it.

use super::Tensor;
use super::node::{Action, Application, Gradient, Node, Place, Source, attach, fail, poison};
use super::runtime::Runtime;
use crate::error::{Error, Result};
use dropforge_ir::quick_hash::QuickSet;
use std::panic::Location;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Visits every node below some tensors once, without recursion. `enter` is given the node and its application and
/// says whether to go below it.
pub(crate) fn walk(tensors: &[&Tensor], mut enter: impl FnMut(&Arc<Node>, Option<&Application>) -> bool) {
    let mut seen = QuickSet::default();
    let mut waiting: Vec<Arc<Node>> = tensors.iter().rev().map(|tensor| tensor.node.clone()).collect();
    while let Some(node) = waiting.pop() {
        if !seen.insert(Arc::as_ptr(&node)) {
            continue;
        }
        match node.source() {
            Source::Applied { application, .. } => {
                if enter(&node, Some(&application)) {
                    waiting.extend(application.args.iter().rev().map(|arg| arg.node.clone()));
                }
            }
            _ => {
                enter(&node, None);
            }
        }
    }
}

/// The gradients of a scalar with respect to tensors, as tensors: nothing is computed yet, and they can be used in
/// further operations, gradients of gradients included.
///
/// The value between must still have its history: outside of a compiled step, `of` must have been marked with
/// [`Tensor::requires_grad`].
///
/// # Errors
/// Shown by the first call that returns a result: if `loss` is no float scalar, an operation on the way has no gradient
/// rule, or the loss does not depend on one of the tensors.
#[doc(alias = "autograd.grad")]
#[track_caller]
pub fn gradients(loss: &Tensor, of: &[&Tensor]) -> Vec<Tensor> {
    let is_one_float = loss.node.ty.shape.rank() == 0 && loss.node.ty.dtype.is_float();
    if loss.node.error().is_none() && !is_one_float {
        let message = format!("the loss must be one float, got {}; take its mean or sum", loss.node.ty);
        let failed = fail("gradients", message, &[loss]);
        return of.iter().map(|_| failed.clone()).collect();
    }
    let poisoned = std::iter::once(&loss).chain(of).find_map(|tensor| tensor.node.error());
    let place = Place::new(loss.tag.as_deref(), Location::caller());
    if let Some(error) = poisoned {
        return of
            .iter()
            .map(|tensor| poison((*error).clone(), tensor.node.ty.clone(), place.clone(), None))
            .collect();
    }
    let args = std::iter::once(&loss).chain(of).map(|tensor| (*tensor).clone()).collect();
    let types = of.iter().map(|tensor| tensor.node.ty.clone()).collect();
    attach(Application { action: Action::Gradients, args }, types, place, loss.tag.clone())
}

impl Tensor {
    /// The same value as a leaf that wants a gradient: [`Tensor::backward`] leaves it in [`Tensor::grad`]. No gradient
    /// flows on to what this tensor was computed from. Clones share the gradient.
    ///
    /// Integers and truth values have no gradients; asking for one is an error that the first call returning a result
    /// shows.
    #[track_caller]
    pub fn requires_grad(&self) -> Tensor {
        if self.node.error().is_some() {
            return self.clone();
        }
        if !self.node.ty.dtype.is_float() {
            return fail(
                "requires_grad",
                format!("{} has no gradient; cast it first", self.node.ty),
                &[self],
            );
        }
        let origin = Place::new(self.tag.as_deref(), Location::caller());
        let (source, traced) = match self.node.source() {
            source @ (Source::Data(_) | Source::Placed(_)) => (source, false),
            Source::Applied { placed: Some(placed), .. } => (Source::Placed(placed), false),
            _ => {
                let detach = Application { action: Action::Detach, args: vec![self.clone()] };
                let source = Source::Applied { application: Arc::new(detach), result: 0, placed: None };
                (source, self.node.traced)
            }
        };
        let waits = matches!(source, Source::Applied { .. });
        let mut node = Node::new(self.node.ty.clone(), origin, source);
        node.tracked = true;
        node.traced = traced;
        node.depth = self.node.waiting() + 1;
        node.gradient = Some(Gradient::default());
        let node = Arc::new(node);
        if waits {
            self.node.add_detached(&node);
        }
        Tensor { node, tag: self.tag.clone() }
    }

    /// The same value without history: no gradient flows through it.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        if self.node.error().is_some() || (!self.node.tracked && !self.node.traced) {
            return self.clone();
        }
        let place = Place::new(self.tag.as_deref(), Location::caller());
        let ty = self.node.ty.clone();
        if let Some(placed) = self.node.placed() {
            let node = Node::new(ty, place, Source::Placed(placed));
            return Tensor { node: Arc::new(node), tag: self.tag.clone() };
        }
        let application = Application { action: Action::Detach, args: vec![self.clone()] };
        let detached = attach(application, vec![ty], place, self.tag.clone()).swap_remove(0);
        self.node.add_detached(&detached.node);
        detached
    }

    /// Computes this scalar and its gradients with respect to all tensors below it that want one, in one run, and adds
    /// them to their [`Tensor::grad`].
    ///
    /// # Errors
    /// If this is no float scalar, nothing below wants a gradient, an operation on the way has no gradient rule, or
    /// anything that [`Tensor::to_array`] reports.
    #[track_caller]
    pub fn backward(&self) -> Result<()> {
        let mut variables = Vec::new();
        walk(&[self], |node, _| {
            if node.gradient.is_some() {
                variables.push(Tensor { node: node.clone(), tag: None });
            }
            node.gradient.is_none() && node.tracked
        });
        if let Some(error) = self.node.error() {
            return Err((*error).clone().into());
        }
        if variables.is_empty() {
            let origin = Place::new(self.tag.as_deref(), Location::caller()).origin();
            let message =
                "nothing that this value was computed from wants a gradient; call requires_grad() first";
            return Err(Error::from(dropforge_ir::Error::new("backward", message).at(&origin)));
        }
        // In one order in all threads, so that none waits for one that waits for it.
        variables.sort_by_key(|variable| Arc::as_ptr(&variable.node));
        let _adding: Vec<MutexGuard<'_, ()>> = variables
            .iter()
            .filter_map(|variable| variable.node.gradient.as_ref())
            .map(|gradient| gradient.adding.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let wanted: Vec<&Tensor> = variables.iter().collect();
        let sums: Vec<Tensor> = gradients(self, &wanted)
            .into_iter()
            .zip(&variables)
            .map(|(new, variable)| match variable.grad() {
                Some(old) => old + new,
                None => new,
            })
            .collect();
        // The variables themselves too, if they wait to be computed: the next step starts from them.
        let all: Vec<&Tensor> = std::iter::once(self).chain(&sums).chain(&variables).collect();
        Runtime::evaluate_somewhere(&all)?;
        for (variable, sum) in variables.iter().zip(sums) {
            // The sum has been computed: it keeps no history.
            variable.set_gradient(Some(sum.detach()));
        }
        Ok(())
    }

    /// The gradient that [`Tensor::backward`] calls have accumulated since the last [`Tensor::zero_grad`]; `None`
    /// before the first, and on tensors that want none.
    pub fn grad(&self) -> Option<Tensor> {
        self.gradient_slot().and_then(|slot| slot.clone())
    }

    /// Forgets the accumulated gradient.
    pub fn zero_grad(&self) {
        let Some(gradient) = &self.node.gradient else { return };
        let _adding = gradient.adding.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_gradient(None);
    }

    fn set_gradient(&self, gradient: Option<Tensor>) {
        let old = self.gradient_slot().and_then(|mut slot| std::mem::replace(&mut *slot, gradient));
        drop(old);
    }

    fn gradient_slot(&self) -> Option<MutexGuard<'_, Option<Tensor>>> {
        let gradient = self.node.gradient.as_ref()?;
        Some(gradient.sum.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
