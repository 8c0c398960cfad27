"""Hugging Face's architectures, from small random configurations, with a mask where they take one.

wav2vec2 is built without LayerDrop: a layer that Python drops at random is part of no graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoos.made import Made

BATCH, LENGTH, WORDS = 2, 7, 50

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": WORDS,
}
DECODER = {**SMALL, "num_key_value_heads": 2, "use_cache": False, "max_position_embeddings": 32}


def masked_tokens(batch: int = BATCH, length: int = LENGTH) -> dict[str, Tensor]:
    """Return token numbers and a mask whose last row is one shorter."""
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[-1, -1] = 0
    return {"input_ids": torch.randint(3, WORDS, (batch, length)), "attention_mask": mask}


def pixels(side: int = 32) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(BATCH, 3, side, side)}


def _of(model: str, config: str, settings: dict[str, Any], inputs: Callable[[], dict[str, Any]]) -> Callable[[], Made]:
    def made() -> Made:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**settings)), inputs()

    return made


def _text(prefix: str, *, model: str = "Model", **settings: Any) -> Callable[[], Made]:
    return _of(f"{prefix}{model}", f"{prefix}Config", settings, masked_tokens)


def _with_decoder() -> dict[str, Tensor]:
    return {**masked_tokens(), "decoder_input_ids": torch.randint(3, WORDS, (BATCH, LENGTH))}


def _clip() -> dict[str, Tensor]:
    return {**masked_tokens(), **pixels()}


_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": WORDS, "use_cache": False}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": WORDS,
    "max_position_embeddings": 32,
    "use_cache": False,
}
_VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
}
_STAGES = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 2}
_SPEECH = {"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2}
MODELS: dict[str, Callable[[], Made]] = {
    "bert": _text("Bert", **SMALL),
    "roberta": _text("Roberta", **SMALL, max_position_embeddings=40),
    "albert": _text("Albert", **SMALL, embedding_size=16),
    "electra": _text("Electra", **SMALL, embedding_size=16),
    "deberta-v2": _text("DebertaV2", **SMALL),
    "distilbert": _text("DistilBert", dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=WORDS),
    "gpt2": _text("GPT2", n_embd=32, n_layer=2, n_head=4, n_positions=32, vocab_size=WORDS, use_cache=False),
    "gpt-neox": _text("GPTNeoX", **SMALL, use_cache=False),
    "opt": _text("OPT", **SMALL, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=32, use_cache=False),
    "llama": _text("Llama", **DECODER),
    "mistral": _text("Mistral", **DECODER),
    "qwen2": _text("Qwen2", **DECODER),
    "phi": _text("Phi", **DECODER),
    "gemma": _text("Gemma", **DECODER, head_dim=8),
    "mixtral": _text("Mixtral", **DECODER, num_local_experts=4, num_experts_per_tok=2),
    "t5": _of("T5Model", "T5Config", _T5, _with_decoder),
    "bart": _of("BartModel", "BartConfig", _BART, _with_decoder),
    "vit": _of("ViTModel", "ViTConfig", {**_VISION, "patch_size": 8}, pixels),
    "swin": _of("SwinModel", "SwinConfig", _STAGES, pixels),
    "convnext": _of(
        "ConvNextModel", "ConvNextConfig", {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2}, pixels
    ),
    "clip": _of(
        "CLIPModel",
        "CLIPConfig",
        {
            "text_config": {**SMALL, "max_position_embeddings": 32, "eos_token_id": 2},
            "vision_config": {**_VISION, "patch_size": 8},
            "projection_dim": 16,
        },
        _clip,
    ),
    "whisper": _of(
        "WhisperModel",
        "WhisperConfig",
        {
            **_BART,
            "num_mel_bins": 8,
            "max_source_positions": 10,
            "max_target_positions": 32,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        lambda: {
            "input_features": torch.randn(BATCH, 8, 20),
            "decoder_input_ids": torch.randint(3, WORDS, (BATCH, LENGTH)),
        },
    ),
    "wav2vec2": _of(
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {
            **SMALL,
            **_SPEECH,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 4,
            "apply_spec_augment": False,
            "layerdrop": 0.0,
        },
        lambda: {"input_values": torch.randn(BATCH, 400)},
    ),
    "segformer": _of(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16, "num_labels": 4},
        lambda: pixels(64),
    ),
    "detr": _of(
        "DetrModel",
        "DetrConfig",
        {
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "num_queries": 5,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "use_timm_backbone": False,
            "use_pretrained_backbone": False,
            "backbone": None,
            "backbone_config": {
                "model_type": "resnet",
                "embedding_size": 8,
                "hidden_sizes": [8, 16],
                "depths": [1, 1],
                "layer_type": "basic",
                "out_features": ["stage2"],
            },
        },
        lambda: {
            "pixel_values": torch.randn(BATCH, 3, 64, 64),
            "pixel_mask": torch.ones(BATCH, 64, 64, dtype=torch.long),
        },
    ),
    "mobilevit": _of(
        "MobileViTModel",
        "MobileViTConfig",
        {"hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 16, 16, 16, 16, 32], "image_size": 64},
        lambda: pixels(64),
    ),
    "sam": _of(
        "SamModel",
        "SamConfig",
        {
            "vision_config": {
                **_VISION,
                "patch_size": 4,
                "output_channels": 16,
                "num_pos_feats": 8,
                "mlp_dim": 48,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "prompt_encoder_config": {"hidden_size": 16, "image_size": 32, "patch_size": 4, "mask_input_channels": 4},
            "mask_decoder_config": {
                "hidden_size": 16,
                "mlp_dim": 32,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 16,
            },
        },
        lambda: {"pixel_values": torch.randn(BATCH, 3, 32, 32), "input_points": torch.rand(BATCH, 1, 2, 2) * 31},
    ),
}


def names() -> list[str]:
    """Return the names of the architectures."""
    return list(MODELS)


def make(name: str) -> Made:
    """Return a model of an architecture, and inputs."""
    return MODELS[name]()
