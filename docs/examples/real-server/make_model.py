"""Make a small Llama with random weights and a tokenizer of its own; nothing is downloaded.

    python make_model.py DIRECTORY

The answers mean nothing. What a server does with it is real: tokens, prefill, decoding with a cache, streaming.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = Path(__file__).read_text(encoding="utf-8")
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "<|assistant|>"
)
SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Train byte-pair encoding on this file: any text can be encoded, because every byte is a token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    begin, end = SPECIAL[:2]
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=begin, eos_token=end)
    fast.chat_template = CHAT
    return fast


def main(directory: str) -> None:
    """Write the model and its tokenizer."""
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=words.bos_token_id,
        eos_token_id=None,  # answers of full length, as `ignore_eos` gives them on other servers
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(directory)
    words.save_pretrained(directory)
    sys.stdout.write(f"{sum(p.numel() for p in model.parameters()):,} parameters in {directory}\n")


if __name__ == "__main__":
    main(sys.argv[1])
