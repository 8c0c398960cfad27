"""Supernets to search: our own, and every model of timm and torchvision."""

from autosubnet.supernets.darts_cnn import Darts
from autosubnet.supernets.darts_evaluation import DartsNetwork
from autosubnet.supernets.darts_genotype import Genotype, genotype
from autosubnet.supernets.darts_nodes import Nodes, nodes
from autosubnet.supernets.darts_rnn import DartsRnn
from autosubnet.supernets.darts_rnn_genotype import DartsRnnNetwork, RecurrentGenotype, recurrent_genotype
from autosubnet.supernets.demo import DemoSupNet
from autosubnet.supernets.language_model import NO_DROPOUT, Dropouts, LanguageModel, NextWord, unroll
from autosubnet.supernets.registry import create, create_with_inputs, names
from autosubnet.supernets.stacked_unets import StackedUnets
from autosubnet.supernets.super_resnet import SuperResNet

__all__ = [
    "NO_DROPOUT",
    "Darts",
    "DartsNetwork",
    "DartsRnn",
    "DartsRnnNetwork",
    "DemoSupNet",
    "Dropouts",
    "Genotype",
    "LanguageModel",
    "NextWord",
    "Nodes",
    "RecurrentGenotype",
    "StackedUnets",
    "SuperResNet",
    "create",
    "create_with_inputs",
    "genotype",
    "names",
    "nodes",
    "recurrent_genotype",
    "unroll",
]
