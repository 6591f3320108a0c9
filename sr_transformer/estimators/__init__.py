"""What a user meets: estimators that check, call and show."""
