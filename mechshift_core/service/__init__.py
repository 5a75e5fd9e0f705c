"""The service: specs handed in over HTTP, run one after another, and their findings searched.

Run directories are the truth. What is wanted of whom and when stands in small files beside them (`jobs`); the database
(`index`) is made of both, and can be made anew at any time.
"""
