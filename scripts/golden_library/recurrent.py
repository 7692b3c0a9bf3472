"""Recurrent layers by name: the shape of the input and PyTorch's layer."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Output(nn.Module):
    """The outputs of a recurrent layer alone; with `last`, the last hidden states of the last layer side by side."""

    def __init__(self, body, last=False):
        super().__init__()
        self.body, self.last = body, last

    def forward(self, x):
        y, state = self.body(x)
        hidden = state[0] if isinstance(state, tuple) else state
        count = 2 if self.body.bidirectional else 1
        return torch.cat(list(hidden[-count:]), 1) if self.last else y


class Several(nn.Module):
    """Sequences of several lengths, from states that are parameters; outputs and last states in one row for each sequence."""

    def __init__(self, rnn, lengths):
        super().__init__()
        self.rnn, self.lengths = rnn, lengths
        states = [rnn.num_layers * (2 if rnn.bidirectional else 1), len(lengths), rnn.hidden_size]
        self.hidden = nn.Parameter(torch.zeros(states))
        self.cell = nn.Parameter(torch.zeros(states)) if isinstance(rnn, nn.LSTM) else None

    def forward(self, x):
        packed = pack_padded_sequence(x, torch.tensor(self.lengths), batch_first=True, enforce_sorted=False)
        y, state = self.rnn(packed, self.hidden if self.cell is None else (self.hidden, self.cell))
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        states = state if isinstance(state, tuple) else (state,)
        return torch.cat([y.flatten(1)] + [state.transpose(0, 1).flatten(1) for state in states], 1)


options = {"batch_first": True}
LAYERS = {
    "lstm": ([3, 5, 4], Output(nn.LSTM(4, 6, **options))),
    "lstm_one_step": ([2, 1, 3], Output(nn.LSTM(3, 1, **options))),
    "lstm_deep": ([2, 4, 3], Output(nn.LSTM(3, 4, num_layers=2, bidirectional=True, **options))),
    "lstm_no_bias": ([2, 4, 3], Output(nn.LSTM(3, 4, bias=False, **options))),
    "lstm_last": ([2, 4, 3], Output(nn.LSTM(3, 4, bidirectional=True, **options), last=True)),
    "lstm_lengths": ([4, 5, 3], Several(nn.LSTM(3, 4, num_layers=2, bidirectional=True, **options), [5, 2, 1, 4])),
    "gru": ([3, 5, 4], Output(nn.GRU(4, 6, **options))),
    "gru_deep": ([2, 4, 3], Output(nn.GRU(3, 4, num_layers=2, bidirectional=True, **options))),
    "gru_no_bias": ([2, 4, 3], Output(nn.GRU(3, 4, bias=False, **options))),
    "gru_lengths": ([3, 5, 3], Several(nn.GRU(3, 4, bidirectional=True, **options), [3, 5, 1])),
    "rnn": ([3, 5, 4], Output(nn.RNN(4, 6, **options))),
    "rnn_relu": ([3, 5, 4], Output(nn.RNN(4, 3, nonlinearity="relu", **options))),
    "rnn_deep": ([2, 4, 3], Output(nn.RNN(3, 4, num_layers=2, bidirectional=True, **options))),
    "rnn_lengths": ([3, 4, 3], Several(nn.RNN(3, 4, **options), [2, 4, 3])),
}
