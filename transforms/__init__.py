"""What happens to a batch of documents: Arrow functions and the Beam transforms that call them."""
