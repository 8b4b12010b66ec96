-- What a server's token is bound to once its first agent has attached: the agent's public key (hexadecimal digits, empty
-- for an agent that has none) and the address that it called from. A manager that starts anew takes no other agent.
ALTER TABLE build ADD COLUMN agent_key TEXT;
ALTER TABLE build ADD COLUMN agent_address TEXT;
